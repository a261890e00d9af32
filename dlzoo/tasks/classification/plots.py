"""Plots of a classifier's predictions: the confusion matrix and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.metrics.plots import CAPTION, image_grid, shorten

#: With more classes than this, numbers in a confusion matrix would be too small to read.
_READABLE = 20
#: With more classes than can be read, every second, third, ... has a name at the axes, at most so many.
_NAMED = 10
#: Side of a matrix in inches, and what a class adds to it, up to so many classes.
_SIDE, _PER_CLASS, _MOST = 3.4, 0.1, 35
#: Letters of a class name at the axes, and in the list of mistakes.
_LETTERS = 24
#: Number of mistakes in the list below a matrix without numbers.
_LISTED = 5
#: Width of a letter as a share of the font size.
_LETTER_WIDTH = 0.64


def confusion(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (K, K): rows are true classes, columns predicted ones; colours are shares of a row.

    With at most 20 classes each cell has its count. With more, the most frequent mistakes are listed below the matrix.
    """
    counts, total = matrix.cpu().numpy(), len(classes)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = _SIDE + _PER_CLASS * min(total, _MOST)  # small, so that letters can be read on a small copy
    longest = _LETTER_WIDTH * 10 / 72 * min(_LETTERS, max(map(len, classes)))  # of the names, in inches
    figure = Figure(figsize=(side + 1.6 + longest, side + 0.9 + longest * 0.7), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class", title="confusion matrix of the test split")
    _name_classes(axes, classes, side)
    if total <= _READABLE:
        cell, digits = 72 * side / total, len(str(counts.max()))
        size = min(12.0, 0.55 * cell, 0.85 * cell / digits / _LETTER_WIDTH)
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=size)
    else:
        lines = _most_frequent(counts, classes)
        figure.set_figheight(figure.get_figheight() + 0.2 * len(lines))
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=11)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    return figure


def _name_classes(axes: Axes, classes: Sequence[str], side: float) -> None:
    """Name classes at both axes of a matrix `side` inches wide; below it upright, if they fit."""
    step = 1 if len(classes) <= _READABLE else -(-len(classes) // _NAMED)
    places = range(0, len(classes), step)
    names = [shorten(classes[place], _LETTERS) for place in places]
    upright = 10 * _LETTER_WIDTH * (max(map(len, names)) + 0.5) < 72 * side / len(classes) * step
    axes.set_xticks(places, names, **{} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"})
    axes.set_yticks(places, names)


def _most_frequent(counts: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """Return lines with the most frequent mistakes, as counts and as shares of the true class."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    most = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    pairs = [divmod(int(place), len(counts)) for place in most if wrong.flat[place]]
    lines = [
        f"{shorten(classes[true], _LETTERS)}, predicted {shorten(classes[said], _LETTERS)}:"
        f" {counts[true, said]:,} of {counts[true].sum():,}"
        for true, said in pairs
    ]
    return ["most frequent mistakes", *lines] if lines else ["no mistakes"]


def worst_mistakes(
    images: Callable[[Tensor], Tensor], mistakes: Sequence[tuple[int, int, int, float]], classes: Sequence[str]
) -> Figure:
    """Draw the misclassified images with the highest confidence.

    Args:
        images: indices (n,) -> those images (n, H, W, C) uint8.
        mistakes: (index, class, prediction, confidence) of each.
        classes: names of the classes.
    """
    title = "no mistakes on the test split"
    if mistakes:
        title = f"the {len(mistakes)} most confident mistakes" if len(mistakes) > 1 else "the only mistake"
        title += " on the test split\nabove: true class; below: predicted class and its probability"
    names = []
    for _, label, wrong, score in mistakes:
        confidence = f" ({score:.0%})"
        names.append(f"{classes[label]}\n{shorten(classes[wrong], CAPTION - len(confidence))}{confidence}")
    indices = torch.tensor([index for index, *_ in mistakes], dtype=torch.int64)
    return image_grid(images(indices), names, title, columns=6)
