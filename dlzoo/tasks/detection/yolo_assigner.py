"""Assignment of objects to the predictions of a YOLO.

Slots are those of yolo_coder.Grid. An object has C candidates: all anchors of the cells that contain its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import Objects

#: Pairs of boxes that are compared at once, so that memory does not grow with the batch.
_PAIRS = 1 << 22


class Assigned(NamedTuple):
    """Slots of objects: `slots` (N, M, E) int64 for each of the M rows of labels, and `positive` (N, M, E) bool.

    No slot is positive for two objects.
    """

    slots: Tensor
    positive: Tensor


def assign(
    target: Objects, sides: Sequence[Sequence[int]], strides: Sequence[int], anchors: Tensor, *, extra_iou: float | None
) -> Assigned:
    """Assign slots to objects with an area that are not difficult, on maps of `sides` (height, width).

    `anchors` is (maps, A, 2). An object gets the candidate whose shape overlaps most, of those that no object of an earlier row has: E is 1.
    With `extra_iou` it also gets every other candidate whose shape overlaps by more than that and that is no object's
    best; an earlier row comes first, and E is C.
    """
    boxes = target.boxes
    # Boxes without area cannot be encoded.
    there = target.there & ~target.difficult & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    slots = _candidates(boxes, sides, strides, anchors.shape[1])
    shapes = F.pad((boxes[..., 2:] - boxes[..., :2])[:, :, None], (2, 0))
    fits = iou(shapes, F.pad(anchors.flatten(0, 1), (2, 0)))
    count = anchors.shape[1] * sum(height * width for height, width in sides)
    best, got, taken = _best_free(slots, fits, there, count)
    if extra_iou is None:
        return Assigned(best, got)
    rows = torch.arange(boxes.shape[1], device=boxes.device)[:, None].expand_as(slots[0])
    no_row = torch.full_like(taken, boxes.shape[1], dtype=torch.int64)
    candidates = rows.where(there[..., None] & (fits > extra_iou), boxes.shape[1])
    first = no_row.scatter_reduce(1, slots.flatten(1), candidates.flatten(1), "amin")
    free = _take_slots(taken, slots) == 0
    return Assigned(slots, (got & (slots == best)) | (free & (_take_slots(first, slots) == rows)))


def overlaps(boxes: Tensor, objects: Tensor, there: Tensor) -> Tensor:
    """Return the largest IoU (N, S) of each of `boxes` (N, S, 4) with an object (N, M, 4) that is `there` (N, M)."""
    at_once = max(1, _PAIRS // (boxes.shape[1] * objects.shape[1]))
    parts = zip(boxes.split(at_once), objects.split(at_once), there.split(at_once), strict=True)
    largest = [
        iou(some[:, :, None], others[:, None]).masked_fill(~present[:, None], 0).amax(-1)
        for some, others, present in parts
    ]
    return torch.cat(largest)


def _candidates(boxes: Tensor, sides: Sequence[Sequence[int]], strides: Sequence[int], anchors: int) -> Tensor:
    """Return the slots (N, M, C) of the cells that contain the centres of boxes (N, M, 4); borders: the last cell."""
    x, y = boxes.unflatten(-1, (2, 2)).mean(-2).unbind(-1)
    slots, start = [], 0
    numbers = torch.arange(anchors, device=boxes.device)
    for (height, width), stride in zip(sides, strides, strict=True):
        column, row = (x / stride).long().clamp(0, width - 1), (y / stride).long().clamp(0, height - 1)
        slots.append(start + (row * width + column)[..., None] * anchors + numbers)
        start += height * width * anchors
    return torch.cat(slots, dim=-1)


def _best_free(slots: Tensor, fits: Tensor, there: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best free slot of each row (N, M, 1), whether it has one (N, M, 1), and slots in use (N, count).

    Rows are processed one after the other, as the rule requires; images in parallel.
    """
    ranked = slots.gather(-1, fits.sort(dim=-1, descending=True, stable=True).indices)
    taken = torch.zeros(len(slots), count, dtype=torch.uint8, device=slots.device)
    best, got = [], []
    for row, present in zip(ranked.unbind(1), there[..., None].to(torch.uint8).unbind(1), strict=True):
        in_use = taken.gather(1, row)
        first = in_use.argmin(1, keepdim=True)
        before = in_use.gather(1, first)
        best.append(row.gather(1, first))
        got.append(present > before)
        taken.scatter_(1, best[-1], before | present)
    return torch.stack(best, 1), torch.stack(got, 1), taken


def _take_slots(values: Tensor, slots: Tensor) -> Tensor:
    """Return `values` (N, S) at the slots (N, M, C): (N, M, C)."""
    return values.gather(1, slots.flatten(1)).view_as(slots)
