"""Average precision as defined by the COCO challenge.

The numbers are those of faster-coco-eval, bit for bit, but computed from arrays: the COCO libraries take a Python
object for each box, of more than a kilobyte, which is gigabytes for a test split of 50,000 images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.objects import sides
from dlzoo.tasks.detection.metrics.coco_matching import AREAS, IOUS, Outcomes, detection_rows, match, object_rows

#: Recalls at which precision is taken.
_RECALLS = np.linspace(0, 1, 101)
#: Metric -> its IoU (None: the mean over all) and its range of areas.
_METRICS = {
    "map_coco": (None, "all"),
    "map50_coco": (0.5, "all"),
    "map75_coco": (0.75, "all"),
    "map_small_coco": (None, "small"),
    "map_medium_coco": (None, "medium"),
    "map_large_coco": (None, "large"),
}


@np.errstate(over="ignore", invalid="ignore")  # boxes of a network that diverges: they match nothing
def coco_metrics(detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Return map_coco, map50_coco, map75_coco and map_small_coco to map_large_coco.

    Args:
        detections: (N, D, 6).
        labels: (N, M, 6).
        num_classes: K.

    Each is the mean over IoUs from 0.5 to 0.95 and classes with objects, of the 100 detections of highest score of each
    class and image; an object is small below 32^2 pixels and large from 96^2 on, by the area of its box. A metric
    without objects is left out. Difficult objects are crowds: any number of detections of which half the area lies in
    one (COCO's IoU with a crowd) are ignored, if no other object matches them.
    """
    images, truth = len(labels), object_rows(labels)
    classes = np.intersect1d(truth.groups // images, np.arange(num_classes)).tolist()
    found = detection_rows(detections, classes)
    outcomes = match(found, truth)
    curves = np.full((len(IOUS), len(_RECALLS), len(classes), len(AREAS)), -1.0)
    for place, number in enumerate(classes):
        mine, theirs = (rows.of_class(number, images) for rows in (found, truth))
        order = mine.start + np.argsort(-found.values[mine], kind="stable")
        for area, counted in enumerate((~truth.ignored[:, theirs]).sum(1).tolist()):
            if counted:
                curves[:, :, place, area] = _precisions(outcomes, found.ignored[area], area, order, counted)
    return _means(curves)


def undefined_metrics(labels: Tensor) -> set[str]:
    """Return the metrics that `coco_metrics` leaves out for labels (N, M, 6), of which no object has the size."""
    areas = sides(labels.double()).prod(1)
    return {
        name
        for name, (_, size) in _METRICS.items()
        if size != "all" and not ((areas >= AREAS[size][0]) & (areas <= AREAS[size][1])).any()
    }


def _precisions(
    outcomes: Outcomes, outside: NDArray[np.bool_], area: int, order: NDArray[np.int64], objects: int
) -> NDArray[np.float64]:
    """Return the greatest precision at each recall or more, of the detections of a class: (10, 101).

    Args:
        outside: (R,) detections that are ignored if they match nothing.
        order: (D,) the detections of the class in descending order of score.
        objects: number of objects that count.
    """
    hits, matches, outside = outcomes.hits[area, order], outcomes.matches[area, order], outside[order]
    values = np.zeros((len(IOUS), len(_RECALLS)))
    for place in range(len(IOUS)):
        hit = (hits >> place & 1).astype(bool)
        counted = hit | ~(outside | (matches >> place & 1).astype(bool))
        # Precision is greatest at true positives, so that the others need not be looked at.
        true = np.arange(1, np.count_nonzero(hit) + 1)
        greatest = np.maximum.accumulate((true / counted.cumsum()[hit])[::-1])[::-1]
        values[place] = np.append(greatest, 0)[np.searchsorted(true / objects, _RECALLS)]
    return values


def _means(curves: NDArray[np.float64]) -> dict[str, float]:
    """Return the metrics of curves (10, 101, K, 4), which are -1 where no object counts."""
    metrics: dict[str, float] = {}
    for name, (iou, area) in _METRICS.items():
        values = curves[..., list(AREAS).index(area)]
        values = values if iou is None else values[iou == IOUS]
        if (values > -1).any():
            metrics[name] = float(np.mean(values[values > -1]))
    return metrics
