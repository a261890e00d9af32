"""Plots of a run that tasks share: curves, grids of images, the learning-rate range test, trials of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

#: Two colours for all kinds of colour vision (Okabe and Ito), and a grey for the background.
TRAIN, VAL, GREY = "#0072B2", "#D55E00", "#767676"


def curves(records: Sequence[dict[str, Any]], title: str, metric: str = "accuracy") -> Figure:
    """Draw loss and a metric of train and validation, and the learning rate, against epochs."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, second, rate = figure.subplots(1, 3)
    for axes, name in ((loss, "loss"), (second, metric)):
        for part, colour in (("train", TRAIN), ("val", VAL)):
            points = [(r["epoch"], r[f"{part}/{name}"]) for r in records if r.get(f"{part}/{name}") is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, label=part, marker="o" if len(points) < 3 else "")
        axes.set(title=name, xlabel="epoch")
        largest = max((r["train/loss"] for r in records if r.get("train/loss") is not None), default=0)
        if name == "loss" and largest > 0:  # a huge validation loss of the first epochs must not flatten the rest
            axes.set_ylim(0, min(axes.get_ylim()[1], 1.5 * largest))
        if axes.lines:
            axes.legend(frameon=False)
    points = [(r["epoch"], r["lr"]) for r in records if r.get("lr") is not None]
    if points:
        rate.plot(*zip(*points, strict=True), color=GREY)
    rate.set(title="learning rate", xlabel="epoch", ylim=(0, None))
    for axes in (loss, second, rate):
        style_axes(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    return figure


def image_grid(images: Sequence[Tensor] | Tensor, names: Sequence[str], title: str, columns: int) -> Figure:
    """Draw images, each (H, W, C) uint8, row by row with names of up to two lines above them.

    Values of float images are scaled to the range that each has.
    """
    rows = max(1, -(-len(names) // columns))
    figure = Figure(figsize=(1.7 * columns, 2.0 * rows + 0.5), layout="constrained")
    axes = figure.subplots()  # one for all: axes for each image would take most of the time of a short run
    axes.set(title=title)
    axes.axis("off")
    for place, (pixels, name) in enumerate(zip(images, names, strict=True)):
        x, y = 1.1 * (place % columns), 1.35 * (place // columns)
        if pixels.is_floating_point():
            low, high = pixels.min(), pixels.max()
            pixels = ((pixels - low) / (high - low).clamp(min=1e-12) * 255).byte()
        shown = pixels.numpy() if pixels.shape[2] == 3 else pixels[:, :, 0].numpy()
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=(x, x + 1, y + 1, y), aspect="auto")
        axes.text(x + 0.5, y - 0.03, name, fontsize=8, ha="center", va="bottom")
    axes.set(xlim=(0, columns * 1.1), ylim=(rows * 1.35 - 0.35, -0.35))
    return figure


def lr_range(rates: Sequence[float], losses: Sequence[float], suggestion: float, title: str) -> Figure:
    """Draw the loss against the learning rate of a range test, and the suggested rate."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=TRAIN)
    axes.axvline(suggestion, color=VAL, linestyle="--")
    axes.annotate(
        f"suggested: {suggestion:.2g}", (suggestion, 0.96), xycoords=("data", "axes fraction"), color=VAL,
        xytext=(-6, 0), textcoords="offset points", ha="right", va="top",
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


def style_axes(axes: Any) -> None:
    """Draw a faint grid, and remove the top and right spines."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
