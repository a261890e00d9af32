"""Matching of detections with objects as defined by the COCO challenge, at all IoUs and ranges of areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dlzoo.boxes.objects import objects
from dlzoo.tasks.detection.metrics.pairs import expand, split_rows

#: The smallest IoU of a match.
IOUS = np.linspace(0.5, 0.95, 10)
#: Smallest and largest area in square pixels.
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
#: Detections of a class and image that are evaluated, those of highest score.
_MOST = 100
#: Pairs of a detection and an object that are compared at a time.
_PART = 200_000
#: The bit of each IoU.
_BITS = (1 << np.arange(len(IOUS))).astype(np.uint16)


class Rows(NamedTuple):
    """Boxes of a split, sorted by class, then by image.

    Attributes:
        groups: (R,) class * N + image, of N images.
        boxes: (R, 4) corners, float32.
        values: (R,) of detections the score, in descending order within a group; of objects whether it is difficult.
        ignored: (4, R) whether a box is out of each range of areas, or a difficult object.
    """

    groups: NDArray[np.int64]
    boxes: NDArray[np.float32]
    values: NDArray[Any]
    ignored: NDArray[np.bool_]

    def of_class(self, number: int, images: int) -> slice:
        """Return the rows of a class, of a split with so many images."""
        start, stop = np.searchsorted(self.groups, [number * images, (number + 1) * images]).tolist()
        return slice(start, stop)


class Outcomes(NamedTuple):
    """Matches of detections for each range of areas: (4, R), a bit for each IoU.

    Attributes:
        hits: the detection matches an object that counts.
        matches: it matches any object.
    """

    hits: NDArray[np.uint16]
    matches: NDArray[np.uint16]


def object_rows(labels: Tensor) -> Rows:
    """Return the objects in labels (N, M, 6)."""
    target = objects(labels)
    images, places = target.there.nonzero(as_tuple=True)
    groups = (target.classes[images, places] * len(labels) + images).numpy()
    order = groups.argsort(kind="stable")
    boxes = target.boxes[images, places].float().numpy()[order]
    difficult = target.difficult[images, places].numpy()[order]
    return Rows(groups[order], boxes, difficult, _out_of_range(boxes) | difficult)


def detection_rows(detections: Tensor, classes: Sequence[int]) -> Rows:
    """Return the detections (N, D, 6) of some classes, the 100 of highest score of each class and image."""
    rows = detections.float().numpy()
    images, places = np.nonzero((rows[..., 4] > 0) & np.isin(rows[..., 5].astype(np.int32), classes))
    groups = rows[images, places, 5].astype(np.int64) * len(rows) + images
    scores = rows[images, places, 4]
    order = np.lexsort((-scores, groups))
    groups = groups[order]
    first = np.arange(len(groups)) - np.searchsorted(groups, groups) < _MOST
    order = order[first]
    boxes = rows[images[order], places[order], :4]
    return Rows(groups[first], boxes, scores[order], _out_of_range(boxes))


def _out_of_range(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether boxes (R, 4) are out of each range of areas: (4, R)."""
    corners = boxes.T.astype(np.float64)
    areas = (corners[2] - corners[0]) * (corners[3] - corners[1])
    return np.stack([(areas < low) | (areas > high) for low, high in AREAS.values()])


def match(found: Rows, truth: Rows) -> Outcomes:
    """Match the detections of each class and image with its objects."""
    outcomes = Outcomes(*np.zeros((2, len(AREAS), len(found.groups)), np.uint16))
    groups, starts, sizes = np.unique(found.groups, return_index=True, return_counts=True)
    first, last = (np.searchsorted(truth.groups, groups, side) for side in ("left", "right"))
    for part in split_rows(sizes * (last - first), _PART):
        rows, theirs = expand(*(np.repeat(each[part], sizes[part]) for each in (first, last - first)))
        mine = rows + starts[part.start]
        overlaps = _overlaps(found.boxes[mine], truth.boxes[theirs], truth.values[theirs])
        kept = np.flatnonzero(overlaps >= IOUS[0])
        if len(kept):
            _match_pairs(mine[kept], theirs[kept], overlaps[kept], found.groups, truth, outcomes)
    return outcomes


def _overlaps(mine: NDArray[np.float32], theirs: NDArray[np.float32], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the IoU of boxes (P, 4) with objects (P, 4), for a crowd the share of the box that lies in it: (P,)."""
    # Far corners are computed from sides, as in COCO's tools: rounding is part of their numbers.
    (low, sides), (other_low, other_sides) = (
        (corners[:2], corners[2:] - corners[:2]) for corners in (boxes.T.astype(np.float64) for boxes in (mine, theirs))
    )
    width, height = np.minimum(low + sides, other_low + other_sides) - np.maximum(low, other_low)
    both, area = width * height, sides[0] * sides[1]
    union = np.where(crowd, area, area + other_sides[0] * other_sides[1] - both)
    return np.divide(both, union, out=np.zeros_like(both), where=(width > 0) & (height > 0) & (union > 0))


class _Nearby(NamedTuple):
    """Objects (M,): whether they count in each range of areas (4, M), are crowds (M,), and match already (4, 10, M)."""

    counts: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    matched: NDArray[np.bool_]


def _match_pairs(
    mine: NDArray[np.int64],
    theirs: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    groups: NDArray[np.int64],
    truth: Rows,
    outcomes: Outcomes,
) -> None:
    """Write the matches of detections to `outcomes`, given pairs (P,) in the order of the detections.

    In descending order of score, each detection matches the object that it overlaps most, of those that count and match
    no other, or else of those that are ignored. A crowd matches any number. Of equal overlaps, the last one is taken.
    """
    rows, lengths = np.unique(mine, return_counts=True)
    # Classes and images do not depend on each other: the first detections of all are matched at once, then the second.
    turns = np.arange(len(rows)) - np.searchsorted(groups[rows], groups[rows])
    order = np.lexsort((overlaps, mine, np.repeat(turns, lengths)))
    rows, lengths = (each[turns.argsort(kind="stable")] for each in (rows, lengths))
    theirs, overlaps, base = theirs[order], overlaps[order], theirs.min()
    near = slice(base, theirs.max() + 1)
    matched = np.zeros((len(AREAS), len(IOUS), near.stop - base), bool)
    nearby = _Nearby(~truth.ignored[:, near], truth.values[near], matched)
    row = pair = 0
    for size in np.bincount(turns).tolist():
        turn = slice(row, row + size)
        pairs = slice(pair, pair + int(lengths[turn].sum()))
        row, pair = turn.stop, pairs.stop
        _match_turn(rows[turn], lengths[turn], theirs[pairs] - base, overlaps[pairs], nearby, outcomes)


def _match_turn(
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    theirs: NDArray[np.int64],
    overlaps: NDArray[np.float64],
    nearby: _Nearby,
    outcomes: Outcomes,
) -> None:
    """Match detections (R,) that have no object in common.

    Args:
        lengths: (R,) number of pairs of each.
        theirs: (P,) objects of `nearby`, for each detection in ascending order of their overlaps (P,).
    """
    free = (overlaps >= IOUS[:, None]) & (nearby.crowd[theirs] | ~nearby.matched[..., theirs])
    # The last pair that is free is the best; those of objects that count come after all others. 0 if none is free.
    size = len(theirs)
    ranks = np.arange(1, size + 1, dtype=np.int32) + np.int32(size) * nearby.counts[:, None, theirs]
    best = np.maximum.reduceat(np.where(free, ranks, 0), lengths.cumsum() - lengths, -1)
    area, iou, place = best.nonzero()
    nearby.matched[area, iou, theirs[(best[area, iou, place] - 1) % size]] = True
    outcomes.hits[:, rows] = ((best > size) * _BITS[:, None]).sum(1)
    outcomes.matches[:, rows] = ((best > 0) * _BITS[:, None]).sum(1)
