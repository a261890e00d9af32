"""Plots of regression results: predictions against targets, residuals, and the fitted curve of one input."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dlzoo.metrics.plots import TRAIN, VAL, style_axes
from dlzoo.tasks.regression.metrics import regression_metrics

#: The largest number of targets that get a panel.
_MOST = 4
#: Characters of a name that fit the width of a panel.
_LETTERS = 32


def predicted_and_true(predictions: Tensor, targets: Tensor, names: Sequence[str]) -> Figure:
    """Draw predictions against targets with the diagonal on which they agree, and below their differences.

    Args:
        predictions, targets: (N, D) each.
        names: a name for each of the D targets; the first four have panels.
    """
    shown = names[:_MOST]
    figure = Figure(figsize=(max(5.0, 3.8 * len(shown)), 7), layout="constrained")
    panels = figure.subplots(2, len(shown), squeeze=False, height_ratios=(2, 1))
    dots = _dots(len(targets))
    for place, name in enumerate(shown):
        metrics = regression_metrics(predictions[:, place : place + 1], targets[:, place : place + 1])
        predicted, true = (values[:, place].float().cpu().numpy() for values in (predictions, targets))
        above, below = panels[:, place]
        above.scatter(true, predicted, **dots)
        above.axline((true[0], true[0]), slope=1, color=VAL)
        below.scatter(true, predicted - true, **dots)
        below.axhline(0, color=VAL)
        above.set(title=f"r2 {metrics['r2']:.3f}, rmse {metrics['rmse']:.3g}", ylabel="predicted")
        below.set(xlabel=f"true {name[:_LETTERS]}", ylabel="predicted - true")
        below.sharex(above)
        below.xaxis.set_major_locator(MaxNLocator(4))  # prices have many digits
    rest = f", {len(shown)} of {len(names)} targets" if len(shown) < len(names) else ""
    figure.suptitle(f"predicted and true on the test split{rest}")
    for axes in figure.axes:
        style_axes(axes)
    return figure


def fitted_curve(x: Tensor, predictions: Tensor, targets: Tensor) -> Figure:
    """Draw targets (N, D) as dots and predictions (N, D) as a line against the one input x (N,)."""
    x, order = x.flatten().cpu().sort()
    shown = min(targets.shape[1], _MOST)
    figure = Figure(figsize=(max(7.0, 5.0 * shown), 4.2), layout="constrained")
    for place, axes in enumerate(figure.subplots(1, shown, squeeze=False)[0]):
        predicted, true = (values[:, place].float().cpu()[order].numpy() for values in (predictions, targets))
        axes.scatter(x.numpy(), true, label="true", **_dots(len(x)))
        axes.plot(x.numpy(), predicted, color=VAL, label="predicted")
        axes.set(xlabel="input", ylabel="target" if shown == 1 else f"target {place + 1}")
        axes.legend(frameon=False)
    metrics = regression_metrics(predictions, targets)
    figure.suptitle(f"fitted curve on the test split: r2 {metrics['r2']:.3f}, rmse {metrics['rmse']:.3g}")
    for axes in figure.axes:
        style_axes(axes)
    return figure


def _dots(count: int) -> dict[str, float | str]:
    """Return the style of `count` dots: many are small and faint."""
    return {"color": TRAIN, "linewidths": 0, "s": 18 if count < 2000 else 5, "alpha": 0.6 if count < 2000 else 0.25}
