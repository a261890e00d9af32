"""Matching of detections with objects by the rules of the PASCAL VOC devkit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import objects

#: The smallest IoU of a match: VOC's minoverlap, and t_f of arXiv:2008.08115.
MATCH_IOU = 0.5
#: Pairs of a detection and an object that are compared at a time.
_PART = 1_000_000


class Rows(NamedTuple):
    """Boxes (R, 4) of all images of a split, float64, with the index of the image (R,) and the class (R,) of each."""

    boxes: Tensor
    images: NDArray[np.int64]
    classes: NDArray[np.int64]


class Pairs(NamedTuple):
    """Pairs of a detection and an object of one image that overlap: indices (P,), (P,) and their IoU (P,)."""

    detections: NDArray[np.int64]
    objects: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """Return the pairs at which the mask (P,) is true."""
        return Pairs(self.detections[kept], self.objects[kept], self.overlaps[kept])

    def nearest(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the object that each of `count` detections overlaps most (-1: none) and their IoU: (D,), (D,).

        Of objects that it overlaps equally, the first.
        """
        order = np.lexsort((self.objects, -self.overlaps, self.detections))
        rows, first = np.unique(self.detections[order], return_index=True)
        nearest, overlaps = np.full(count, -1), np.zeros(count)
        nearest[rows], overlaps[rows] = self.objects[order][first], self.overlaps[order][first]
        return nearest, overlaps


class Matching(NamedTuple):
    """Matches of D detections, in descending order of score, with M objects.

    Attributes:
        scores: (D,) scores of the detections.
        difficult: (M,) bool, difficult objects.
        pairs: pairs of a detection and an object that overlap.
        nearest: (D,) the object of its class that a detection overlaps most, -1 where there is none.
        overlaps: (D,) their IoU, 0 where there is none.
        hits: (D,) bool: true positives, the detections of highest score that match their object.
        ignored: (D,) bool: detections that match a difficult object, which count as neither right nor wrong.
        num_images: number of images of the split.
    """

    detections: Rows
    scores: NDArray[np.float32]
    objects: Rows
    difficult: NDArray[np.bool_]
    pairs: Pairs
    nearest: NDArray[np.int64]
    overlaps: NDArray[np.float64]
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
    pairs = _overlapping_pairs(detected, labelled)
    same = detected.classes[pairs.detections] == labelled.classes[pairs.objects]
    nearest, overlaps = pairs.where(same).nearest(len(scores))
    near = overlaps >= MATCH_IOU
    ignored = near.copy()
    ignored[near] = difficult[nearest[near]]
    claims = np.flatnonzero(near & ~ignored)
    hits = np.zeros(len(scores), bool)
    hits[claims[np.unique(nearest[claims], return_index=True)[1]]] = True
    return Matching(detected, scores, labelled, difficult, pairs, nearest, overlaps, hits, ignored, len(labels))


def _detection_rows(detections: Tensor) -> tuple[Rows, NDArray[np.float32]]:
    images, places = (detections[..., 4] > 0).nonzero(as_tuple=True)
    scores, order = torch.sort(detections[images, places, 4], descending=True, stable=True)
    rows, images = detections[images, places][order], images[order]
    return Rows(rows[:, :4].double(), images.numpy(), rows[:, 5].long().numpy()), scores.numpy()


def _object_rows(labels: Tensor) -> tuple[Rows, NDArray[np.bool_]]:
    target = objects(labels)
    which = target.there.nonzero(as_tuple=True)
    rows = Rows(target.boxes[which].double(), which[0].numpy(), target.classes[which].numpy())
    return rows, target.difficult[which].numpy()


def _overlapping_pairs(detected: Rows, labelled: Rows) -> Pairs:
    """Return the pairs whose IoU is above 0; `labelled` is sorted by image."""
    first, last = (np.searchsorted(labelled.images, detected.images, side) for side in ("left", "right"))
    counts = last - first
    parts = np.searchsorted(counts.cumsum(), np.arange(_PART, counts.sum(), _PART))
    kept: list[Pairs] = []
    for rows in np.split(np.arange(len(counts)), parts):
        mine = np.repeat(rows, counts[rows])
        starts = counts[rows].cumsum() - counts[rows]
        theirs = np.arange(len(mine)) - np.repeat(starts - first[rows], counts[rows])
        overlaps = iou(detected.boxes[mine], labelled.boxes[theirs]).numpy()
        kept.append(Pairs(mine, theirs, overlaps).where(overlaps > 0))
    return Pairs(*(np.concatenate(values) for values in zip(*kept, strict=True)))
