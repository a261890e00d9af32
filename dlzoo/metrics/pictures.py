"""Pictures of a run: curves, the confusion matrix, the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

#: Two colours that differ for every kind of sight (Okabe and Ito), and a grey for what stands back.
TRAIN, VAL, QUIET = "#0072B2", "#D55E00", "#767676"

#: More classes than this, and names and numbers in a confusion matrix would be specks.
_READABLE = 20


def curves(records: Sequence[dict[str, Any]], title: str) -> Figure:
    """Loss and accuracy of train and validation, and the learning rate, against epochs."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        for part, colour in (("train", TRAIN), ("val", VAL)):
            points = [(r["epoch"], r[f"{part}/{name}"]) for r in records if r.get(f"{part}/{name}") is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, label=part, marker="o" if len(points) < 3 else "")
        axes.set(title=name, xlabel="epoch")
        trained = [r["train/loss"] for r in records if r.get("train/loss") is not None]
        if name == "loss" and trained:  # a validation loss of the first epochs may be huge, and would flatten the rest
            axes.set_ylim(0, min(axes.get_ylim()[1], 1.5 * max(trained)))
        if axes.lines:
            axes.legend(frameon=False)
    points = [(r["epoch"], r["lr"]) for r in records if r.get("lr") is not None]
    if points:
        rate.plot(*zip(*points, strict=True), color=QUIET)
    rate.set(title="learning rate", xlabel="epoch", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    return figure


def confusion(matrix: Tensor, classes: Sequence[str]) -> Figure:
    """Rows are the true classes, columns what they were taken for; colours are shares of a row."""
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
    images: Callable[[Tensor], Tensor], logits: Tensor, labels: Tensor, classes: Sequence[str], most: int = 24
) -> Figure:
    """The images that were taken for something else with the greatest confidence.

    `images` gives those at some indices: (n, H, W, C) uint8.
    """
    confidence, predicted = logits.softmax(1).cpu().max(1)
    labels = labels.cpu()
    wrong = (predicted != labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True)][:most]
    columns = 6
    rows = max(1, -(-len(wrong) // columns))
    figure = Figure(figsize=(1.7 * columns, 2.0 * rows + 0.5), layout="constrained")
    figure.suptitle(
        f"the {len(wrong)} most confident mistakes on the test split" if len(wrong) else "no mistake on the test split"
    )
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, index, pixels in zip(figure.axes, wrong.tolist(), images(wrong).numpy(), strict=False):
        axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray", vmin=0, vmax=255)
        said, true = classes[int(predicted[index])], classes[int(labels[index])]
        axes.set_title(f"{true}, taken for\n{said} ({confidence[index]:.0%})", fontsize=8)
    return figure
