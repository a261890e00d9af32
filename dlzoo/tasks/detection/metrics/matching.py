"""Which detections of a split find an object, by the rules of the PASCAL VOC devkit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import objects

#: The IoU from which on a detection finds an object: VOC's minoverlap, and t_f of arXiv:2008.08115.
MATCH_IOU = 0.5
#: Pairs of a detection and an object that are compared at a time.
_PART = 1_000_000


class Rows(NamedTuple):
    """Boxes (R, 4) of all pictures of a split, float64; the number of the picture (R,) and the class (R,) of each."""

    boxes: Tensor
    pictures: NDArray[np.int64]
    classes: NDArray[np.int64]


class Pairs(NamedTuple):
    """All pairs of a detection and an object of one picture that overlap: indices (P,), (P,) and their IoU (P,)."""

    detections: NDArray[np.int64]
    objects: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def where(self, kept: NDArray[np.bool_]) -> Pairs:
        """The pairs at which the mask (P,) is true."""
        return Pairs(self.detections[kept], self.objects[kept], self.overlaps[kept])

    def nearest(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For each of `count` detections the object that it overlaps most (-1: none) and their IoU: (D,), (D,).

        Of objects that it overlaps equally, the first.
        """
        order = np.lexsort((self.objects, -self.overlaps, self.detections))
        found, first = np.unique(self.detections[order], return_index=True)
        nearest, overlaps = np.full(count, -1), np.zeros(count)
        nearest[found], overlaps[found] = self.objects[order][first], self.overlaps[order][first]
        return nearest, overlaps


class Matching(NamedTuple):
    """What became of D detections, the surest first, and M objects.

    Attributes:
        scores: (D,) of detections.
        difficult: (M,) bool, of objects.
        pairs: which of them overlap.
        nearest: (D,) the object of its class that a detection overlaps most, -1 where there is none.
        overlaps: (D,) their IoU, 0 where there is none.
        hits: (D,) bool: it finds this object, which no surer one has found.
        ignored: (D,) bool: it finds a difficult object, which counts neither for nor against it.
        split: how many pictures there are.
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
    split: int


def matching(detections: Tensor, labels: Tensor) -> Matching:
    """Match detections (N, D, 6) (x1, y1, x2, y2, score, class; score 0: nothing) with objects, labels (N, M, 6).

    Each detection, the surest first, is compared with the object of its class and picture that it overlaps most, as in
    the devkit: from an IoU of 0.5 on it finds it, or is a duplicate if a surer one has found it already. Of equally
    sure detections the first comes first.
    """
    (found, scores), (there, difficult) = _detected(detections), _labelled(labels)
    pairs = _overlapping(found, there)
    same = found.classes[pairs.detections] == there.classes[pairs.objects]
    nearest, overlaps = pairs.where(same).nearest(len(scores))
    near = overlaps >= MATCH_IOU
    ignored = near.copy()
    ignored[near] = difficult[nearest[near]]
    claims = np.flatnonzero(near & ~ignored)
    hits = np.zeros(len(scores), bool)
    hits[claims[np.unique(nearest[claims], return_index=True)[1]]] = True
    return Matching(found, scores, there, difficult, pairs, nearest, overlaps, hits, ignored, len(labels))


def _detected(detections: Tensor) -> tuple[Rows, NDArray[np.float32]]:
    pictures, places = (detections[..., 4] > 0).nonzero(as_tuple=True)
    scores, order = torch.sort(detections[pictures, places, 4], descending=True, stable=True)
    rows, pictures = detections[pictures, places][order], pictures[order]
    return Rows(rows[:, :4].double(), pictures.numpy(), rows[:, 5].long().numpy()), scores.numpy()


def _labelled(labels: Tensor) -> tuple[Rows, NDArray[np.bool_]]:
    said = objects(labels)
    which = said.there.nonzero(as_tuple=True)
    rows = Rows(said.boxes[which].double(), which[0].numpy(), said.classes[which].numpy())
    return rows, said.difficult[which].numpy()


def _overlapping(found: Rows, there: Rows) -> Pairs:
    """The pairs whose IoU is above 0; the objects of a picture are next to each other in `there`."""
    first, last = (np.searchsorted(there.pictures, found.pictures, side) for side in ("left", "right"))
    counts = last - first
    parts = np.searchsorted(counts.cumsum(), np.arange(_PART, counts.sum(), _PART))
    kept: list[Pairs] = []
    for rows in np.split(np.arange(len(counts)), parts):
        mine = np.repeat(rows, counts[rows])
        starts = counts[rows].cumsum() - counts[rows]
        theirs = np.arange(len(mine)) - np.repeat(starts - first[rows], counts[rows])
        overlaps = iou(found.boxes[mine], there.boxes[theirs]).numpy()
        kept.append(Pairs(mine, theirs, overlaps).where(overlaps > 0))
    return Pairs(*(np.concatenate(values) for values in zip(*kept, strict=True)))
