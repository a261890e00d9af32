"""Average precision as defined by the COCO challenge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor

from dlzoo.boxes.objects import objects

#: Our metric -> the library's.
_NAMES = {
    "map_coco": "AP_all",
    "map50_coco": "AP_50",
    "map75_coco": "AP_75",
    "map_small_coco": "AP_small",
    "map_medium_coco": "AP_medium",
    "map_large_coco": "AP_large",
}


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
    known = target.boxes[which], target.classes[which]
    annotations = _annotations(which[0], *known, "iscrowd", target.difficult[which].int())
    which = (detections[..., 4] > 0).nonzero(as_tuple=True)
    rows = detections[which]
    results = _annotations(which[0], rows[:, :4], rows[:, 5].long(), "score", rows[:, 4])
    truth, predicted = (_dataset(each, len(labels), num_classes) for each in (annotations, results))
    evaluation = COCOeval_faster(truth, predicted, "bbox", print_function=_silence)
    evaluation.run()
    values = {name: evaluation.stats_as_dict[theirs] for name, theirs in _NAMES.items()}
    return {name: float(value) for name, value in values.items() if value >= 0}


def _annotations(images: Tensor, boxes: Tensor, classes: Tensor, key: str, values: Tensor) -> list[dict[str, Any]]:
    """Return an annotation for each of the boxes (R, 4), numbered from 1, as 0 means no match to the library."""
    corners = boxes.double()
    sides = corners[:, 2:] - corners[:, :2]
    columns = (images, classes, torch.cat([corners[:, :2], sides], 1), sides.prod(1), values)
    return [
        {"id": number, "image_id": image, "category_id": class_, "bbox": box, "area": area, key: value}
        for number, (image, class_, box, area, value) in enumerate(zip(*map(Tensor.tolist, columns), strict=True), 1)
    ]


def _dataset(annotations: Sequence[dict[str, Any]], images: int, classes: int) -> COCO:
    content = {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number} for number in range(classes)],
        "annotations": annotations,
    }
    return COCO(content, print_function=_silence)


def _silence(*words: object) -> None:
    """Discard the library's progress messages."""
