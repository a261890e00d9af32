"""Average precision as the COCO challenge measures it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from dlzoo.boxes.objects import objects

#: Our names of the library's.
_NAMES = {
    "map_coco": "AP_all",
    "map50_coco": "AP_50",
    "map75_coco": "AP_75",
    "map_small_coco": "AP_small",
    "map_medium_coco": "AP_medium",
    "map_large_coco": "AP_large",
}


def coco_metrics(detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """detections (N, D, 6), labels (N, M, 6) -> map_coco, map50_coco, map75_coco, and map_small_coco to map_large_coco.

    The mean over IoUs from 0.5 to 0.95 and classes with objects, of the 100 surest detections of each class in a
    picture; an object is small below 32^2 pixels and large from 96^2 on, by the area of its box. What has no objects is
    left out. Difficult objects are passed as crowds: any number of detections that lie in one by half (of their own
    area, which is COCO's IoU with a crowd) are ignored, if no other object takes them.
    """
    said = objects(labels)
    which = said.there.nonzero(as_tuple=True)
    there = _annotations(which[0], said.boxes[which], said.classes[which], "iscrowd", said.difficult[which].int())
    which = (detections[..., 4] > 0).nonzero(as_tuple=True)
    rows = detections[which]
    found = _annotations(which[0], rows[:, :4], rows[:, 5].long(), "score", rows[:, 4])
    truth, answer = (_dataset(annotations, len(labels), num_classes) for annotations in (there, found))
    evaluation = COCOeval_faster(truth, answer, "bbox", print_function=_silent)
    evaluation.run()
    values = {name: evaluation.stats_as_dict[theirs] for name, theirs in _NAMES.items()}
    return {name: float(value) for name, value in values.items() if value >= 0}


def _annotations(pictures: Tensor, boxes: Tensor, classes: Tensor, key: str, values: Tensor) -> list[dict[str, Any]]:
    """One for each of the boxes (R, 4), numbered from 1, as the library takes 0 for no match."""
    corners = boxes.double()
    sides = corners[:, 2:] - corners[:, :2]
    columns = (pictures, classes, torch.cat([corners[:, :2], sides], 1), sides.prod(1), values)
    return [
        {"id": number, "image_id": picture, "category_id": class_, "bbox": box, "area": area, key: value}
        for number, (picture, class_, box, area, value) in enumerate(zip(*map(Tensor.tolist, columns), strict=True), 1)
    ]


def _dataset(annotations: Sequence[dict[str, Any]], pictures: int, classes: int) -> COCO:
    content = {
        "images": [{"id": number} for number in range(pictures)],
        "categories": [{"id": number} for number in range(classes)],
        "annotations": annotations,
    }
    return COCO(content, print_function=_silent)


def _silent(*words: object) -> None:
    """Where the library's progress goes."""
