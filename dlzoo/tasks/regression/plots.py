"""Pictures of numbers that were predicted: against the true ones, what is left over, and the curve of one input."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlzoo.metrics.plots import TRAIN, VAL, style_axes
from dlzoo.tasks.regression.metrics import regression_metrics

#: Targets that get a panel.
_MOST = 4
#: Of a name, as many letters as a panel is wide.
_LETTERS = 32


def predicted_and_true(predictions: Tensor, targets: Tensor, names: Sequence[str]) -> Figure:
    """Above, predictions against targets, and the diagonal on which they agree; below, their differences.

    predictions (N, D), targets (N, D), a name for each of the D; the first four have panels.
    """
    shown = names[:_MOST]
    figure = Figure(figsize=(max(5.0, 3.8 * len(shown)), 7), layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False, height_ratios=(2, 1))
    dots = _dots(len(targets))
    for place, name in enumerate(shown):
        found = regression_metrics(predictions[:, place : place + 1], targets[:, place : place + 1])
        said, true = (values[:, place].float().cpu().numpy() for values in (predictions, targets))
        above, below = panels[:, place]
        above.scatter(true, said, **dots)
        above.axline((true[0], true[0]), slope=1, color=VAL)
        below.scatter(true, said - true, **dots)
        below.axhline(0, color=VAL)
        above.set(title=f"r2 {found['r2']:.3f}, rmse {found['rmse']:.3g}", ylabel="predicted")
        below.set(xlabel=f"true {name[:_LETTERS]}", ylabel="predicted - true")
        below.sharex(above)
        below.xaxis.set_major_locator(MaxNLocator(4))  # prices have many digits
    rest = f", {len(shown)} of {len(names)} targets" if len(shown) < len(names) else ""
    figure.suptitle(f"predicted and true on the test split{rest}")
    for axes in figure.axes:
        style_axes(axes)
    return figure


def fitted_curve(x: Tensor, predictions: Tensor, targets: Tensor) -> Figure:
    """The targets, and the predictions as a line, against the one input: x (N,), predictions (N, D), targets (N, D)."""
    x, order = x.flatten().cpu().sort()
    shown = min(targets.shape[1], _MOST)
    figure = Figure(figsize=(max(7.0, 5.0 * shown), 4.2), layout="constrained")
    for place, axes in enumerate(figure.subplots(1, shown, squeeze=False)[0]):
        said, true = (values[:, place].float().cpu()[order].numpy() for values in (predictions, targets))
        axes.scatter(x.numpy(), true, label="true", **_dots(len(x)))
        axes.plot(x.numpy(), said, color=VAL, label="predicted")
        axes.set(xlabel="input", ylabel="target" if shown == 1 else f"target {place + 1}")
        axes.legend(frameon=False)
    found = regression_metrics(predictions, targets)
    figure.suptitle(f"the fitted curve on the test split: r2 {found['r2']:.3f}, rmse {found['rmse']:.3g}")
    for axes in figure.axes:
        style_axes(axes)
    return figure


def _dots(count: int) -> dict[str, float | str]:
    """Smaller and fainter, the more there are."""
    return {"color": TRAIN, "linewidths": 0, "s": 18 if count < 2000 else 5, "alpha": 0.6 if count < 2000 else 0.25}
