"""Average precision as defined by the COCO challenge."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from dlzoo.boxes.objects import objects, sides

#: Our metric -> the library's.
_NAMES = {
    "map_coco": "AP_all",
    "map50_coco": "AP_50",
    "map75_coco": "AP_75",
    "map_small_coco": "AP_small",
    "map_medium_coco": "AP_medium",
    "map_large_coco": "AP_large",
}
#: The metrics of sizes, and the smallest and largest area of their objects.
_AREAS = {"map_small_coco": (0, 32**2), "map_medium_coco": (32**2, 96**2), "map_large_coco": (96**2, inf)}
#: Detections that are evaluated at a time: the library has a dict for each, of more than a kilobyte in all.
_MOST = 300_000


def coco_metrics(detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Return map_coco, map50_coco, map75_coco and map_small_coco to map_large_coco.

    Args:
        detections: (N, D, 6).
        labels: (N, M, 6).
        num_classes: K.

    Each is the mean over IoUs from 0.5 to 0.95 and classes with objects, of the 100 detections of highest score of each
    class and image; an object is small below 32^2 pixels and large from 96^2 on, by the area of its box. A metric
    without objects is left out. Difficult objects are passed as crowds: any number of detections of which half the area
    lies in one (COCO's IoU with a crowd) are ignored, if no other object matches them.
    """
    target = objects(labels)
    which = target.there.nonzero(as_tuple=True)
    truth = _Boxes(which[0], target.boxes[which], target.classes[which], "iscrowd", target.difficult[which].int())
    which = (detections[..., 4] > 0).nonzero(as_tuple=True)
    rows = detections[which]
    results = _Boxes(which[0], rows[:, :4], rows[:, 5].long(), "score", rows[:, 4])
    *groups, last = _groups(results.classes.bincount(minlength=num_classes).tolist())
    parts = [_evaluate(truth, results, len(labels), classes).eval for classes in groups]
    evaluation = _evaluate(truth, results, len(labels), last)
    parts.append(evaluation.eval)
    evaluation.eval = {key: np.concatenate([part[key] for part in parts], -3) for key in ("precision", "recall")}
    evaluation.summarize()
    values = {name: evaluation.stats_as_dict[theirs] for name, theirs in _NAMES.items()}
    return {name: float(value) for name, value in values.items() if value >= 0}


def undefined_metrics(labels: Tensor) -> set[str]:
    """Return the metrics that `coco_metrics` leaves out for labels (N, M, 6), of which no object has the size."""
    areas = sides(labels.double()).prod(1)
    return {name for name, (low, high) in _AREAS.items() if not ((areas >= low) & (areas <= high)).any()}


def _evaluate(truth: _Boxes, results: _Boxes, images: int, classes: range) -> COCOeval_faster:
    """Return precision and recall of some classes, in `eval`."""
    known, found = (_dataset(boxes.of_classes(classes), images, classes) for boxes in (truth, results))
    evaluation = COCOeval_faster(known, found, "bbox", print_function=_silence)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


class _Boxes(NamedTuple):
    """Boxes (R, 4) of a split: the image and class (R,) of each, and one more column for the library."""

    images: Tensor
    boxes: Tensor
    classes: Tensor
    key: str
    values: Tensor

    def of_classes(self, classes: range) -> list[dict[str, Any]]:
        """Return an annotation for each box of these classes."""
        kept = (self.classes >= classes.start) & (self.classes < classes.stop)
        return _annotations(self.images[kept], self.boxes[kept], self.classes[kept], self.key, self.values[kept])


def _groups(counts: Sequence[int]) -> list[range]:
    """Return groups of successive classes with at most `_MOST` detections each, but one class at least."""
    groups, start, size = [], 0, 0
    for number, count in enumerate(counts):
        if size and size + count > _MOST:
            groups.append(range(start, number))
            start, size = number, 0
        size += count
    return [*groups, range(start, len(counts))]


def _annotations(images: Tensor, boxes: Tensor, classes: Tensor, key: str, values: Tensor) -> list[dict[str, Any]]:
    """Return an annotation for each of the boxes (R, 4), numbered from 1, as 0 means no match to the library."""
    corners = boxes.double()
    sides = corners[:, 2:] - corners[:, :2]
    columns = (images, classes, torch.cat([corners[:, :2], sides], 1), sides.prod(1), values)
    return [
        {"id": number, "image_id": image, "category_id": class_, "bbox": box, "area": area, key: value}
        for number, (image, class_, box, area, value) in enumerate(zip(*map(Tensor.tolist, columns), strict=True), 1)
    ]


def _dataset(annotations: Sequence[dict[str, Any]], images: int, classes: range) -> COCO:
    content = {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number} for number in classes],
        "annotations": annotations,
    }
    return COCO(content, print_function=_silence)


def _silence(*words: object) -> None:
    """Discard the library's progress messages."""
