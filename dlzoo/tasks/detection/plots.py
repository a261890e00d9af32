"""Plots of detections: precision-recall curves, kinds of errors, AP by class, and boxes on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.objects import objects
from dlzoo.metrics.class_colours import class_colour, is_dark
from dlzoo.metrics.plots import GREY, TRAIN, VAL, shorten, style_axes
from dlzoo.tasks.detection.metrics.average_precision import Curve
from dlzoo.tasks.detection.metrics.error_types import BACKGROUND_IOU, KINDS, MATCH_IOU, MIN_SCORE

#: With more classes than this, curves do not get a colour each.
_READABLE = 20
#: Letters of a class name in a legend or beside a bar.
_LETTERS = 28
#: Number of steps of a precision-recall curve.
_POINTS = 500
#: Size of the label of a box, in points.
_LABEL = 8.0
#: Dashes of the boxes of labelled objects: lengths in widths of the line.
_DASHES = (0, (4, 4))
#: Definition of each kind of error, shown below its name.
_MEANING = {
    "classification": f"IoU ≥ {MATCH_IOU}, wrong class",
    "localisation": f"IoU {BACKGROUND_IOU} to {MATCH_IOU}, right class",
    "both": f"IoU {BACKGROUND_IOU} to {MATCH_IOU}, wrong class",
    "duplicate": "object already detected",
    "background": f"IoU ≤ {BACKGROUND_IOU} with all objects",
    "missed": "no overlapping detection",
}


def precision_recall_curves(curves: Sequence[Curve | None], classes: Sequence[str]) -> Figure:
    """Draw the curve of each class with objects, in order of AP, and their mean; of many classes, name only the mean.

    Precision is the greatest at this recall or more: a step at each recall that was reached, whose area is AP.
    """
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.subplots()
    known = [(curve.all_points(), place, curve) for place, curve in enumerate(curves) if curve is not None]
    many = len(known) > _READABLE
    if known:
        mean = np.mean([ap for ap, _, _ in known])
        line = np.mean([curve.precision_at(_POINTS) for _, _, curve in known], 0)
        # A wide line below those of the classes, or a line over many faint ones: neither hides the other.
        style: dict[str, Any] = {"linewidth": 1.5} if many else {"linewidth": 6, "alpha": 0.2, "zorder": 1}
        axes.plot(np.linspace(0, 1, _POINTS + 1), line, drawstyle="steps-pre", color="black",
                  label=f"{mean:.3f}  mean", **style)  # fmt: skip
    for ap, place, curve in sorted(known, key=lambda item: -item[0]):
        points = min(curve.objects, _POINTS)  # exact up to so many objects: recall is a multiple of one of them
        style = {"color": GREY, "alpha": 0.3, "linewidth": 0.8}
        if not many:
            name = f"{ap:.3f}  {shorten(classes[place], _LETTERS)}"
            style = {"color": class_colour(place % 10), "linestyle": "-" if place % 20 < 10 else "--", "label": name}
        axes.plot(np.linspace(0, 1, points + 1), curve.precision_at(points), drawstyle="steps-pre", **style)
    axes.set(xlabel="recall", ylabel="greatest precision at this recall or more", xlim=(0, 1.01), ylim=(0, 1.02))
    count = f", {len(known)} classes" if many else ""
    axes.set_title(f"precision and recall on the test split, IoU ≥ {MATCH_IOU}{count}")
    if known:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9, title="AP")
    else:
        axes.text(0.5, 0.5, "no objects", ha="center")
    style_axes(axes)
    return figure


def error_types(metrics: Mapping[str, float]) -> Figure:
    """Draw a bar for each of errors_*: the mean number of such errors per image."""
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.subplots()
    counts = [metrics[f"errors_{kind}"] for kind in KINDS]
    bars = axes.barh(range(len(KINDS)), counts, color=[VAL if kind == "missed" else TRAIN for kind in KINDS])
    axes.bar_label(bars, fmt="{:.2f}", padding=3)
    axes.set_yticks(range(len(KINDS)), [f"{kind}\n{_MEANING[kind]}" for kind in KINDS], fontsize=8)
    axes.invert_yaxis()
    title = f"errors on the test split, of detections with a score of {MIN_SCORE} or more"
    axes.set(xlabel="errors per image", xlim=(0, 1.12 * max(*counts, 0.01)))
    figure.suptitle(title, fontsize="medium")
    _bars_only(axes)
    return figure


def class_precisions(
    precisions: Sequence[float | None], counts: Sequence[float | None], classes: Sequence[str]
) -> Figure:
    """Draw a bar for the AP of each class that has objects, the best at the top, with its number of objects."""
    known = sorted((ap, place) for place, ap in enumerate(precisions) if ap is not None)
    figure = Figure(figsize=(7, 1.4 + 0.24 * len(known)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(known)), [ap for ap, _ in known], color=TRAIN)
    names = [f"{shorten(classes[place], _LETTERS)} ({counts[place]})" for _, place in known]
    axes.set_yticks(range(len(known)), names, fontsize=8)
    for height, (ap, _) in enumerate(known):  # on white, as the line of the mean may be there
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text(ap + 0.01, height, f"{ap:.3f}", fontsize=8, va="center", bbox=ground)
    title = f"AP by class (number of objects) on the test split, IoU ≥ {MATCH_IOU}"
    if known:
        mean = float(np.mean([ap for ap, _ in known]))
        axes.axvline(mean, color=VAL, linestyle="--", zorder=0.9)
        title += f"\ndashed: mean {mean:.3f}"
    axes.set(xlabel="AP", xlim=(0, 1.08), ylim=(-0.6, max(len(known), 1) - 0.4))
    axes.set_xticks(np.linspace(0, 1, 6))
    figure.suptitle(title, fontsize="medium")
    _bars_only(axes)
    return figure


def predictions(
    images: Sequence[NDArray[np.uint8]],
    detections: Sequence[Tensor],
    labels: Sequence[Tensor] | None,
    classes: Sequence[str],
    sizes: Sequence[tuple[int, int]] | None = None,
    columns: int = 3,
) -> Figure:
    """Draw images with their detections of a score of 0.3 or more and, dashed, their objects.

    Args:
        images: (H, W, 3) each, of any size.
        detections, labels: (D, 6) and (M, 6) for each image; no labels draw no objects.
        classes: names of the classes.
        sizes: width and height of each image in pixels of its boxes; None for those of `images`.
        columns: number of columns.
    """
    if sizes is None:
        sizes = [(image.shape[1], image.shape[0]) for image in images]
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = float(np.mean([height / width for width, height in sizes]))
    figure = Figure(figsize=(max(3.2 * columns, 5.0), 3.2 * min(shape, 2) * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels:
        axes.axis("off")
    for place, (axes, image, found) in enumerate(zip(panels, images, detections, strict=False)):
        width, height = sizes[place]
        axes.imshow(image, extent=(0, width, height, 0))
        if labels is not None:
            target = objects(labels[place])
            for x1, y1, x2, y2 in target.boxes[target.there].tolist():
                axes.add_patch(_rectangle(x1, y1, x2, y2, edgecolor="black", linewidth=1.6))
                axes.add_patch(_rectangle(x1, y1, x2, y2, edgecolor="white", linewidth=1, linestyle=_DASHES))
        shown = found[found[:, 4] >= MIN_SCORE]
        _draw(axes, shown, classes, points=72 * min(3.1 / width, 3.1 * min(shape, 2) / height))
        if not len(shown):
            ground = {"facecolor": "black", "edgecolor": "none", "pad": 2}
            axes.text(0.5, 0.04, "nothing with this score", transform=axes.transAxes, color="white", fontsize=9,
                      ha="center", bbox=ground)  # fmt: skip
    _explain_boxes(figure, labelled=labels is not None)
    figure.suptitle(f"detections with a score of {MIN_SCORE} or more, test split")
    return figure


def _explain_boxes(figure: Figure, *, labelled: bool) -> None:
    """Add a legend for the boxes of detections and, if they are drawn, those of labelled objects."""
    lines = [Line2D([], [], color=class_colour(0), linewidth=1.6, label="detection, with class and score")]
    if labelled:
        lines.append(Line2D([], [], color="black", linewidth=1.6, linestyle=_DASHES, label="labelled object"))
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _draw(axes: Axes, detections: Tensor, classes: Sequence[str], points: float) -> None:
    """Draw boxes with names and scores, the highest score on top.

    Args:
        points: points per pixel of the image, for the size of the labels.
    """
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()  # low > high: rows are counted from the top
    taken: list[tuple[float, float, float, float]] = []
    tall = 1.5 * _LABEL / points
    for x1, y1, x2, y2, score, number in sorted(detections.tolist(), key=lambda row: -row[4]):
        if score <= 0:
            continue
        colour, order = class_colour(int(number)), 3 - len(taken) / 1000
        axes.add_patch(_rectangle(x1, y1, x2, y2, edgecolor=colour, linewidth=_LABEL / 5, zorder=order - 1))
        text = f"{shorten(classes[int(number)], _LETTERS)} {score:.2f}"
        wide = 0.66 * _LABEL * len(text) / points
        # Near the right edge, names end where boxes end.
        at_right = x1 > 0.6 * right + 0.4 * left
        start = max(left, min(x2, right) - wide if at_right else max(x1, left))
        # Above the box, or below its upper edge, or at its lower edge: the first that covers no label of higher score.
        tops = [top for top in (y1 - tall, max(y1, high), y2, y2 - tall) if high <= top <= low - tall]
        places = [(start, top, start + wide, top + tall) for top in tops or [min(max(y1, high), low - tall)]]
        place = next((place for place in places if not any(_overlap(place, other) for other in taken)), places[0])
        taken.append(place)
        axes.text(
            min(x2, right) if at_right and start > left else start,
            place[1] + tall / 2,
            text,
            fontsize=_LABEL,
            color="white" if is_dark(colour) else "black",
            ha="right" if at_right and start > left else "left",
            va="center",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 1},
            clip_on=True,
            parse_math=False,
            zorder=order,
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether two boxes x1, y1, x2, y2 overlap."""
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])


def _bars_only(axes: Axes) -> None:
    """Style axes like all plots, but with a grid for the values only, behind the bars."""
    style_axes(axes)
    axes.grid(False, axis="y")
    axes.set_axisbelow(True)


def _rectangle(x1: float, y1: float, x2: float, y2: float, **style: Any) -> Rectangle:
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **style)
