"""Plots of a classifier's predictions: the confusion matrix and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.metrics.plots import image_grid

#: With more classes than this, names and numbers in a confusion matrix would be too small to read.
_READABLE = 20


def confusion(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix (K, K): rows are true classes, columns predicted ones; colours are shares of a row."""
    counts = matrix.cpu().numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 7 if len(classes) <= _READABLE else 9
    figure = Figure(figsize=(size, size * 0.9), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title="confusion matrix of the test split")
    if len(classes) <= _READABLE:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    return figure


def worst_mistakes(
    images: Callable[[Tensor], Tensor], mistakes: Sequence[tuple[int, int, int, float]], classes: Sequence[str]
) -> Figure:
    """Draw the misclassified images with the highest confidence.

    Args:
        images: indices (n,) -> those images (n, H, W, C) uint8.
        mistakes: (index, class, prediction, confidence) of each.
        classes: names of the classes.
    """
    title = f"the {len(mistakes)} most confident mistakes" if mistakes else "no mistakes"
    names = [f"{classes[label]}, predicted\n{classes[wrong]} ({score:.0%})" for _, label, wrong, score in mistakes]
    indices = torch.tensor([index for index, *_ in mistakes], dtype=torch.int64)
    return image_grid(images(indices), names, f"{title} on the test split", columns=6)
