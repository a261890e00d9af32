"""The objects of images, as one tensor that goes wherever labels go, and what a detector is taught of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: What a row of labels holds: four corners, the class, and whether the object is difficult.
COLUMNS = 6


class Objects(NamedTuple):
    """The objects of N images, at most M in one.

    Attributes:
        boxes: (N, M, 4) x1, y1, x2, y2 in pixels, from the outer edge of the first pixel to that of the last.
        classes: (N, M) int64, -1 where there is no object.
        there: (N, M) bool.
        difficult: (N, M) bool: neither counted nor missed in evaluation (VOC's difficult, COCO's crowds).
    """

    boxes: Tensor
    classes: Tensor
    there: Tensor
    difficult: Tensor


def objects(labels: Tensor) -> Objects:
    """What labels (N, M, 6) say: x1, y1, x2, y2, class (-1: no object), difficult (0 or 1)."""
    classes = labels[..., 4].long()
    return Objects(labels[..., :4], classes, classes >= 0, labels[..., 5] > 0)


def sides(labels: Tensor) -> Tensor:
    """Width and height of every object that labels (N, M, 6) hold: (B, 2)."""
    found = objects(labels)
    return (found.boxes[..., 2:] - found.boxes[..., :2])[found.there]


def padded(rows: list[Tensor]) -> Tensor:
    """Labels (N, M, 6) of the objects (m, 6) of each image, M those of the fullest, at least 1."""
    most = max([len(row) for row in rows] + [1])
    labels = torch.zeros(len(rows), most, COLUMNS)
    labels[..., 4] = -1
    for place, row in zip(labels, rows, strict=True):
        place[: len(row)] = row
    return labels


class MatchedTargets(NamedTuple):
    """What one stage of a detector said, beside what it should have said; rows of weight 0 teach nothing.

    The number of rows does not depend on what is in the images: nothing waits for a GPU to count objects.

    Attributes:
        boxes: (R, 4) predicted, decoded to pixels; box_targets: (R, 4) what they should be.
        offsets: (R, 4) the same as the network says them; offset_targets: (R, 4).
        box_weights: (R,).
        scores: (Q, K) logits of independent classes, or (Q, K) or (Q, K + 1) of exclusive ones, the last background.
        classes: (Q,) int64 from 0 to K, K is background; class_weights: (Q,).
        objectness: (S,) logits; objectness_targets: (S,) from 0 to 1; objectness_weights: (S,). S is 0 where a detector
            has no such score.
        matched: () what the sums of losses are divided by, at least 1.
    """

    boxes: Tensor
    box_targets: Tensor
    offsets: Tensor
    offset_targets: Tensor
    box_weights: Tensor
    scores: Tensor
    classes: Tensor
    class_weights: Tensor
    objectness: Tensor
    objectness_targets: Tensor
    objectness_weights: Tensor
    matched: Tensor
