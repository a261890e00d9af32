"""Plots of a run that tasks share: curves, grids of images, the learning-rate range test, trials of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from math import ceil, inf
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator
from torch import Tensor

from dlzoo.core import index
from dlzoo.runs.figures import epoch_ticks

#: Two colours for all kinds of colour vision (Okabe and Ito), and a grey for the background.
TRAIN, VAL, GREY = "#0072B2", "#D55E00", "#767676"
#: Fewer validations than this have markers.
_MARKED = 26
#: Width in inches of the narrowest grid of images, and of a letter of a title.
_NARROWEST, _TITLE_LETTER = 4.2, 0.115
#: Letters of a caption that fit above an image of a grid.
CAPTION = 23


def curves(
    records: Sequence[dict[str, Any]], title: str, metric: str = "accuracy", *, validation: Sized | None = None
) -> Figure:
    """Draw loss and a metric of training and validation, and the learning rate, against epochs.

    Args:
        records: the logged scalars, a dict for each line of metrics.jsonl.
        title: title of the run.
        metric: name of the metric.
        validation: the validation split, whose number of samples is stated.
    """
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, second, rate = figure.subplots(1, 3)
    count = "" if validation is None else f" (n = {len(validation):,})"
    for axes, name in ((loss, "loss"), (second, metric)):
        parts = {
            "training": (TRAIN, "", train_curve(records, f"train/{name}")),
            f"validation{count}": (VAL, "o", _points(records, f"val/{name}")),
        }
        for label, (colour, marker, points) in parts.items():
            if points:
                few = len(points) < (_MARKED if marker else 3)  # validations are apart, and one point is no line
                axes.plot(*zip(*points, strict=True), color=colour, label=label, marker="o" if few else "", ms=3.5)
        known = index.metrics().get(name)
        axes.set(title=name.replace("_", " ") if known is None else known.title)
        if axes.lines:
            axes.legend(frameon=False)
        else:
            why = "not measured:\nno validation split"
            axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=GREY)
    _limit_loss(loss)
    rates = _points(records, "lr")
    if rates:
        rate.plot(*zip(*rates, strict=True), color=GREY, marker="o" if len(rates) < 3 else "", ms=3.5)
    rate.set(title="learning rate", ylim=(0, None))
    for axes in (loss, second, rate):
        style_axes(axes)
        mark_epochs(axes, max((record["epoch"] for record in records), default=1))
    figure.suptitle(title)
    return figure


def train_curve(records: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """Return (epoch, mean of a training metric) of each logging window, at the window's end.

    A window that is cut short by the end of an epoch has few steps, whose mean is noisy. Windows of less than half the
    longest are merged with those beside them in the same epoch; each counts as often as it has steps.
    """
    windows: list[tuple[int, float, float]] = []  # steps, epoch, value
    before = 0
    for record in records:
        if record.get(key) is not None:
            windows.append((record["step"] - before, record["epoch"], record[key]))
            before = record["step"]
    half = max((steps for steps, *_ in windows), default=0) / 2
    merged: list[tuple[int, float, float]] = []
    for steps, epoch, value in windows:
        if merged and min(steps, merged[-1][0]) < half and ceil(epoch) == ceil(merged[-1][1]):
            others, _, mean = merged.pop()
            value = (mean * others + value * steps) / max(others + steps, 1)
            steps += others
        merged.append((steps, epoch, value))
    return [(epoch, value) for _, epoch, value in merged]


def mark_epochs(axes: Any, last: float) -> None:
    """Label whole epochs on the x axis, from 0 to the last."""
    ticks = epoch_ticks(last)
    axes.set(xlabel="epoch", xlim=(-0.02 * ticks[-1], 1.02 * ticks[-1]))
    axes.set_xticks(ticks)


def _points(records: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(record["epoch"], record[key]) for record in records if record.get(key) is not None]


def _limit_loss(axes: Any) -> None:
    """Limit the axis by the training loss: a huge validation loss of the first epochs must not flatten the rest."""
    largest = max((max(line.get_ydata()) for line in axes.lines if line.get_label() == "training"), default=0)
    if not 0 < largest < inf:
        return
    top = max(max(line.get_ydata()) for line in axes.lines)
    axes.set_ylim(0, min(axes.get_ylim()[1], 1.5 * largest))
    if top > 1.5 * largest:
        axes.set_title(f"loss (validation up to {top:.3g})")


def image_grid(
    images: Sequence[Tensor] | Tensor, names: Sequence[str], title: str, columns: int, side: float = 1.7
) -> Figure:
    """Draw images, each (H, W, C) uint8, row by row with names of up to two lines above them.

    Values of float images are scaled to the range that each has. Names and lines of the title are cut to fit.

    Args:
        columns: the largest number of columns; fewer are used where rows would be uneven.
        side: the width of an image and the gap beside it, in inches.
    """
    rows = max(1, -(-len(names) // columns))
    columns = max(1, min(columns, -(-len(names) // rows)))
    width, gap = max(side * columns, _NARROWEST), 0.35 if any(names) else 0.1
    lines = [line for text in title.split("\n") for line in wrap(text, int(width / _TITLE_LETTER)) or [""]]
    figure = Figure(figsize=(width, side * (0.87 * gap + 0.87) * rows + 0.3 + 0.2 * len(lines)), layout="constrained")
    axes = figure.subplots()  # one for all: axes for each image would take most of the time of a short run
    axes.set_title("\n".join(lines))
    axes.axis("off")
    for place, (pixels, name) in enumerate(zip(images, names, strict=True)):
        x, y = 1.1 * (place % columns), (1 + gap) * (place // columns)
        if pixels.is_floating_point():
            low, high = pixels.min(), pixels.max()
            pixels = ((pixels - low) / (high - low).clamp(min=1e-12) * 255).byte()
        shown = pixels.numpy() if pixels.shape[2] == 3 else pixels[:, :, 0].numpy()
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=(x, x + 1, y + 1, y), aspect="auto")
        fitting = "\n".join(shorten(line, CAPTION) for line in name.split("\n"))
        axes.text(x + 0.5, y - 0.03, fitting, fontsize=8, ha="center", va="bottom")
    middle, across = 0.55 * columns - 0.05, 1.1 * width / side
    axes.set(xlim=(middle - across / 2, middle + across / 2), ylim=(rows * (1 + gap) - gap, -gap))
    return figure


def lr_range(rates: Sequence[float], losses: Sequence[float], suggestion: float, title: str) -> Figure:
    """Draw the loss against the learning rate of a range test, and the suggested rate."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=TRAIN)
    axes.axvline(suggestion, color=VAL, linestyle="--")
    at_left = suggestion**2 < rates[0] * rates[-1]  # there is more room at the other side
    axes.annotate(
        f"suggested: {suggestion:.2g}", (suggestion, 0.96), xycoords=("data", "axes fraction"), color=VAL,
        xytext=(6 if at_left else -6, 0), textcoords="offset points", ha="left" if at_left else "right", va="top",
    )  # fmt: skip
    low, first = min(losses), losses[0]
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed", title=title)
    axes.set_ylim(low - 0.1 * (first - low), first + 0.6 * (first - low))
    style_axes(axes)
    return figure


def trials(
    values: Sequence[float | None], settings: Mapping[str, Sequence[Any]], title: str, *, maximise: bool = True
) -> Figure:
    """Draw the result of each trial of a search (None: failed or stopped), in order and against each setting."""
    columns = 1 + len(settings)
    figure = Figure(figsize=(3.8 * columns, 3.6), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    best = (np.maximum if maximise else np.minimum).accumulate([value for _, value in known])
    axes[0].plot(*zip(*known, strict=True), "o", color=TRAIN, markersize=4, label="trial")
    axes[0].step([number for number, _ in known], best, where="post", color=VAL, label="best so far")
    axes[0].set(xlabel="trial", ylabel="validation", xlim=(-1, len(values)))
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(frameon=False)
    for panel, (name, chosen) in zip(axes[1:], settings.items(), strict=True):
        points = [(place, value) for place, value in zip(chosen, values, strict=True) if value is not None]
        panel.plot(*zip(*points, strict=True), "o", color=TRAIN, markersize=4)
        numbers = [place for place, _ in points if isinstance(place, float)]
        if numbers and min(numbers) > 0 and max(numbers) > 20 * min(numbers):
            panel.set_xscale("log")
        panel.set(xlabel=name)
        panel.margins(x=0.15)
    for panel in axes:
        style_axes(panel)
    figure.suptitle(title)
    return figure


def shorten(name: str, most: int) -> str:
    """Return a name in one line of at most `most` letters, without its middle, as names differ at their ends."""
    name = " ".join(name.split())
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}"


def style_axes(axes: Any) -> None:
    """Draw a faint grid, and remove the top and right spines; labels of ticks are those that a layout made room for."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        if isinstance(axis.get_major_locator(), AutoLocator):  # its ticks would change with the size during a layout
            axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
