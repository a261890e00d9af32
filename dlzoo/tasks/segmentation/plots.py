"""Plots of segmentation: masks on images, and IoU by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from dlzoo.data.mask_set import IGNORED
from dlzoo.metrics.plots import TRAIN, VAL, shorten, style_axes
from dlzoo.tasks.segmentation.drawing import Palette, overlay

#: The colour of wrong pixels in a picture of errors, and the weight of the image there.
_WRONG, _FAINT = (214, 39, 40), 0.35
#: The largest number of classes in a legend, and of letters of a name.
_NAMED, _LETTERS = 24, 20
_COLUMNS = ("image", "true", "predicted", "errors in red")


def predictions(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    predicted: Sequence[NDArray[np.uint8]],
    classes: Sequence[str],
    palette: Palette,
) -> Figure:
    """Draw a row for each image: the image, its mask, the predicted mask, and where they differ.

    Args:
        images: (H, W, 1 or 3) each, of any size.
        masks, predicted: (H, W) each; 255 is ignored.
        classes: names of the classes.
        palette: their colours.
    """
    shape = float(np.mean([min(image.shape[0] / image.shape[1], 2) for image in images]))
    shown = np.unique(np.concatenate([np.unique(mask) for mask in (*masks, *predicted)]))
    coloured = (number for number in shown.tolist() if number < len(classes) and any(palette[number]))
    named = list(coloured)[:_NAMED]
    lines = -(-(len(named) + 1) // 5)
    figure = Figure(figsize=(9.2, 2.25 * shape * len(images) + 0.7 + 0.22 * lines), layout="constrained")
    grid = figure.subplots(len(images), len(_COLUMNS), squeeze=False)
    for row, image, mask, guess in zip(grid, images, masks, predicted, strict=True):
        known = np.where(mask == IGNORED, IGNORED, guess).astype(np.uint8)
        cells = (image, overlay(image, mask, palette), overlay(image, guess, palette), _errors(image, mask, known))
        for axes, pixels in zip(row, cells, strict=True):
            axes.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=255,
                        interpolation="nearest")  # fmt: skip
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, name in zip(grid[0], _COLUMNS, strict=True):
        axes.set_title(name, fontsize=10)
    patches = [_patch(palette[number], shorten(classes[number], _LETTERS)) for number in map(int, named)]
    if any((mask == IGNORED).any() for mask in masks):
        patches.append(_patch((255, 255, 255), "ignored"))
    figure.legend(handles=patches, loc="outside lower center", ncols=min(5, len(patches)), frameon=False, fontsize=9)
    return figure


def class_ious(
    ious: Sequence[float | None], fractions: Sequence[float], classes: Sequence[str], boundary: Sequence[float | None]
) -> Figure:
    """Draw a bar for the IoU of each class of the test split, the best at the top, and a dot for its boundary F1.

    Args:
        ious, boundary: IoU and boundary F1 of each class; None for one that is neither in a mask nor predicted.
        fractions: the fraction of the pixels of the test masks that each class has.
        classes: names of the classes.
    """
    known = sorted((iou, place) for place, iou in enumerate(ious) if iou is not None)
    figure = Figure(figsize=(7, 1.7 + 0.26 * len(known)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(known)), [iou for iou, _ in known], color=TRAIN, label="IoU")
    dots = [(boundary[place], height) for height, (_, place) in enumerate(known) if boundary[place] is not None]
    if dots:
        axes.plot(*zip(*dots, strict=True), "o", color=VAL, markersize=4, label="boundary F1")
    names = [f"{shorten(classes[place], _LETTERS)} ({_percent(fractions[place])})" for _, place in known]
    axes.set_yticks(range(len(known)), names, fontsize=8)
    for height, (iou, _) in enumerate(known):
        axes.text(1.02, height, f"{iou:.3f}", fontsize=8, va="center")
    title = "IoU by class (fraction of the pixels) on the test split"
    if known:
        mean = float(np.mean([iou for iou, _ in known]))
        axes.axvline(mean, color="black", linestyle="--", linewidth=1, label=f"mean IoU {mean:.3f}")
    axes.set(xlim=(0, 1.1), ylim=(-0.6, max(len(known), 1) - 0.4))
    axes.set_xticks(np.linspace(0, 1, 6))
    figure.suptitle(title, fontsize="medium")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    return figure


def _errors(image: NDArray[np.uint8], mask: NDArray[np.uint8], guess: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a faint image (H, W, 3) in which wrong pixels are red, and ignored ones white."""
    faint = 255 - (255 - np.broadcast_to(image, (*mask.shape, 3)).astype(np.float32)) * _FAINT
    faint[guess != mask] = _WRONG
    faint[mask == IGNORED] = 255
    return faint.round().astype(np.uint8)


def _patch(colour: Sequence[int], name: str) -> Patch:
    return Patch(facecolor=tuple(level / 255 for level in colour), edgecolor="#808080", linewidth=0.5, label=name)  # pyright: ignore[reportArgumentType]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"
