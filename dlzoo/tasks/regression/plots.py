"""Plots of regression results: predictions against targets, residuals, and the fitted curve of one input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.metrics.plots import TRAIN, VAL, shorten, style_axes
from dlzoo.tasks.regression.metrics import regression_metrics

#: The largest number of targets that get a panel.
_MOST = 4
#: Characters of a name that fit the width of a panel.
_LETTERS = 32


def predicted_and_true(predictions: Tensor, targets: Tensor, names: Sequence[str]) -> Figure:
    """Draw predictions against targets with the line on which they agree, and below their differences.

    Both axes of the upper panels have the same limits, so that predictions near the mean are seen to be that.

    Args:
        predictions, targets: (N, D) each.
        names: a name for each of the D targets; the first four have panels.
    """
    shown = names[:_MOST]
    figure = Figure(figsize=(max(5.4, 3.8 * len(shown)), 7), layout="constrained")
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
        above.set(title=_describe(metrics), ylabel="predicted")
        below.set(xlabel=f"true {shorten(name, _LETTERS)}", ylabel="predicted - true")
        below.sharex(above)
        limits = _limits(true, predicted)
        above.set(xlim=limits, ylim=limits)
        below.xaxis.set_major_locator(MaxNLocator(4))  # prices have many digits
    rest = f", {len(shown)} of {len(names)} targets" if len(shown) < len(names) else ""
    title = f"predicted and true on the test split{rest}\nlines: predicted = true"
    if len(shown) == 1:  # one title, above its panel
        figure.axes[0].set_title(f"{title}\n{figure.axes[0].get_title()}")
    else:
        figure.suptitle(title)
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
        axes.set(xlabel="input of the network", ylabel="target" if shown == 1 else f"target {place + 1}")
        axes.legend(frameon=False)
    metrics = regression_metrics(predictions, targets)
    figure.suptitle(f"fitted curve on the test split: {_describe(metrics)}")
    for axes in figure.axes:
        style_axes(axes)
    return figure


def _describe(metrics: Mapping[str, float]) -> str:
    return f"R² {metrics['r2']:.3f}, RMSE {metrics['rmse']:.3g}"


def _limits(*values: NDArray[np.floating]) -> tuple[float, float]:
    """Return limits of an axis for all finite values, with a margin."""
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def _dots(count: int) -> dict[str, float | str]:
    """Return the style of `count` dots: many are small and faint."""
    return {"color": TRAIN, "linewidths": 0, "s": 18 if count < 2000 else 5, "alpha": 0.6 if count < 2000 else 0.25}
