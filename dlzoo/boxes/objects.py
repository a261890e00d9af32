"""The objects of images, packed into one label tensor, and the matched targets of a detector."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: Columns of labels: four corners, the class, and whether the object is difficult.
COLUMNS = 6


class Objects(NamedTuple):
    """The objects of N images, at most M per image.

    Attributes:
        boxes: (N, M, 4) x1, y1, x2, y2 in pixels, from the outer edge of the first pixel to that of the last.
        classes: (N, M) int64, -1 for padding.
        there: (N, M) bool, whether a row is an object.
        difficult: (N, M) bool: in evaluation neither a hit nor a miss counts (VOC's difficult, COCO's crowds).
    """

    boxes: Tensor
    classes: Tensor
    there: Tensor
    difficult: Tensor


def objects(labels: Tensor) -> Objects:
    """Unpack labels (N, M, 6): x1, y1, x2, y2, class (-1: no object), difficult (0 or 1)."""
    classes = labels[..., 4].long()
    return Objects(labels[..., :4], classes, classes >= 0, labels[..., 5] > 0)


def sides(labels: Tensor) -> Tensor:
    """Return width and height of every object in labels (N, M, 6) that is not difficult: (B, 2)."""
    unpacked = objects(labels)
    return (unpacked.boxes[..., 2:] - unpacked.boxes[..., :2])[unpacked.there & ~unpacked.difficult]


def pad_labels(rows: list[Tensor]) -> Tensor:
    """Return labels (N, M, 6) from the objects (m, 6) of each image, padded to M, the largest m and at least 1."""
    most = max([len(row) for row in rows] + [1])
    labels = torch.zeros(len(rows), most, COLUMNS)
    labels[..., 4] = -1
    for place, row in zip(labels, rows, strict=True):
        place[: len(row)] = row
    return labels


def count_rows(labels: Tensor) -> Tensor:
    """Return the number of rows of each image in labels (N, M, 6) up to its last object: (N,) int64."""
    rows = torch.arange(1, labels.shape[1] + 1, device=labels.device)
    return (rows * objects(labels).there).amax(1)


class MatchedTargets(NamedTuple):
    """Predictions of one stage of a detector and their targets; rows of weight 0 do not contribute to the loss.

    The number of rows does not depend on the number of objects, so that the host need not wait for the GPU. A region
    proposal network has no class scores, and most detectors have no objectness: those fields are None.

    Attributes:
        boxes: (R, 4) predicted, decoded to pixels; box_targets: (R, 4).
        offsets: (R, 4) predicted, encoded; offset_targets: (R, 4).
        box_weights: (R,).
        matched: () the number of matches, by which sums of losses are divided.
        scores: (Q, K) logits of independent classes, or (Q, K) or (Q, K + 1) of exclusive ones, the last background.
        classes: (Q,) int64 from 0 to K, K is background; class_weights: (Q,).
        objectness: (S,) logits; objectness_targets: (S,) from 0 to 1; objectness_weights: (S,).
    """

    boxes: Tensor
    box_targets: Tensor
    offsets: Tensor
    offset_targets: Tensor
    box_weights: Tensor
    matched: Tensor
    scores: Tensor | None = None
    classes: Tensor | None = None
    class_weights: Tensor | None = None
    objectness: Tensor | None = None
    objectness_targets: Tensor | None = None
    objectness_weights: Tensor | None = None
