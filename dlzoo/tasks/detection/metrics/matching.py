"""Matching of detections with objects by the rules of the PASCAL VOC devkit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import objects
from dlzoo.tasks.detection.metrics.pairs import expand, split_rows

#: The smallest IoU of a match: VOC's minoverlap, and t_f of arXiv:2008.08115.
MATCH_IOU = 0.5
#: Pairs of a detection and an object that are compared at a time.
_PART = 1_000_000


class Rows(NamedTuple):
    """Boxes (R, 4) of all images of a split, with the index of the image (R,) and the class (R,) of each."""

    boxes: Tensor
    images: NDArray[np.int64]
    classes: NDArray[np.int64]


class Nearest(NamedTuple):
    """The object that each detection overlaps most (D,), -1 if it overlaps none, and their IoU (D,), or 0."""

    objects: NDArray[np.int32]
    overlaps: NDArray[np.float64]

    @classmethod
    def none(cls, count: int) -> Nearest:
        """Return `count` detections that overlap nothing."""
        return cls(np.full(count, -1, np.int32), np.zeros(count))

    def update(self, detections: NDArray[np.int64], objects: NDArray[np.int64], overlaps: NDArray[np.float64]) -> None:
        """Add all pairs of some detections: indices (P,), (P,), both sorted, and IoU (P,).

        Of objects that a detection overlaps equally, the first is taken.
        """
        rows, starts, places = np.unique(detections, return_index=True, return_inverse=True)
        if not len(rows):
            return
        self.overlaps[rows] = np.maximum.reduceat(overlaps, starts)
        greatest = np.flatnonzero(overlaps == self.overlaps[rows][places])
        rows, first = np.unique(detections[greatest], return_index=True)
        self.objects[rows] = objects[greatest[first]]


class Matching(NamedTuple):
    """Matches of D detections, in descending order of score, with M objects.

    Attributes:
        classes: (D,) classes of the detections.
        scores: (D,) scores of the detections.
        object_classes: (M,) classes of the objects.
        difficult: (M,) bool, difficult objects.
        nearest: the object of its class that a detection overlaps most.
        same: the same, without difficult objects.
        other: the object of another class that it overlaps most, without difficult ones.
        hits: (D,) bool: true positives, the detections of highest score that match their object.
        ignored: (D,) bool: detections that match a difficult object, which count as neither right nor wrong.
        num_images: number of images of the split.
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    object_classes: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    nearest: Nearest
    same: Nearest
    other: Nearest
    hits: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    num_images: int


def match_detections(detections: Tensor, labels: Tensor) -> Matching:
    """Match detections (N, D, 6) (x1, y1, x2, y2, score, class; score 0: padding) with objects, labels (N, M, 6).

    Each detection, in descending order of score, is compared with the object of its class and image that it overlaps
    most, as in the devkit: at an IoU of 0.5 or more it matches, or is a duplicate if one of higher score matches
    already. Of equal scores the first comes first.
    """
    (detected, scores), (labelled, difficult) = _detection_rows(detections), _object_rows(labels)
    nearest, same, other = _nearest_objects(detected, labelled, difficult)
    near = nearest.overlaps >= MATCH_IOU
    ignored = near.copy()
    ignored[near] = difficult[nearest.objects[near]]
    claims = np.flatnonzero(near & ~ignored)
    hits = np.zeros(len(scores), bool)
    hits[claims[np.unique(nearest.objects[claims], return_index=True)[1]]] = True
    return Matching(
        detected.classes, scores, labelled.classes, difficult, nearest, same, other, hits, ignored, len(labels)
    )


def _detection_rows(detections: Tensor) -> tuple[Rows, NDArray[np.float32]]:
    images, places = (detections[..., 4] > 0).nonzero(as_tuple=True)
    scores, order = torch.sort(detections[images, places, 4], descending=True, stable=True)
    images, places = images[order], places[order]
    classes = detections[images, places, 5].long()
    return Rows(detections[..., :4][images, places], images.numpy(), classes.numpy()), scores.numpy()


def _object_rows(labels: Tensor) -> tuple[Rows, NDArray[np.bool_]]:
    target = objects(labels)
    which = target.there.nonzero(as_tuple=True)
    rows = Rows(target.boxes[which], which[0].numpy(), target.classes[which].numpy())
    return rows, target.difficult[which].numpy()


def _nearest_objects(detected: Rows, labelled: Rows, difficult: NDArray[np.bool_]) -> tuple[Nearest, Nearest, Nearest]:
    """Return `nearest`, `same` and `other` of Matching; `labelled` is sorted by image."""
    nearest, same, other = (Nearest.none(len(detected.images)) for _ in range(3))
    first, last = (np.searchsorted(labelled.images, detected.images, side) for side in ("left", "right"))
    for part in split_rows(last - first, _PART):
        rows, theirs = expand(first[part], (last - first)[part])
        mine = rows + part.start
        overlaps = iou(detected.boxes[mine].double(), labelled.boxes[theirs].double()).numpy()
        near = overlaps > 0
        equal = detected.classes[mine] == labelled.classes[theirs]
        counted = near & ~difficult[theirs]
        for found, kept in ((nearest, near & equal), (same, counted & equal), (other, counted & ~equal)):
            found.update(mine[kept], theirs[kept], overlaps[kept])
    return nearest, same, other
