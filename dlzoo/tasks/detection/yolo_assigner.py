"""Which predictions of a YOLO are to say which objects.

Slots are those of models.yolo_boxes.Grid. An object has C candidates: each anchor of the cells that its centre is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import Objects

#: So many pairs of boxes are compared at once: the memory that it takes does not grow with the batch.
_PAIRS = 1 << 22


class Assigned(NamedTuple):
    """`slots` (N, M, E) int64 for each of the M rows of labels, and which of them are `positive` (N, M, E) bool.

    No slot is positive twice.
    """

    slots: Tensor
    positive: Tensor


def assign(
    found: Objects, sides: Sequence[Sequence[int]], strides: Sequence[int], anchors: Tensor, *, extra_iou: float | None
) -> Assigned:
    """Slots for objects, but not for difficult ones, in maps of `sides` (height, width) with `anchors` (maps, A, 2).

    An object gets the candidate whose shape overlaps most, of those that no object of an earlier row has got: E is 1.
    With `also` it gets every other candidate, too, whose shape overlaps by more and that is nobody's best; an earlier
    row comes first, and E is C.
    """
    boxes, there = found.boxes, found.there & ~found.difficult
    slots = _candidates(boxes, sides, strides, anchors.shape[1])
    shapes = F.pad((boxes[..., 2:] - boxes[..., :2])[:, :, None], (2, 0))
    fits = iou(shapes, F.pad(anchors.flatten(0, 1), (2, 0)))
    count = anchors.shape[1] * sum(height * width for height, width in sides)
    best, got, taken = _best_free(slots, fits, there, count)
    if extra_iou is None:
        return Assigned(best, got)
    rows = torch.arange(boxes.shape[1], device=boxes.device)[:, None].expand_as(slots[0])
    nobody = torch.full_like(taken, boxes.shape[1], dtype=torch.int64)
    wishes = rows.where(there[..., None] & (fits > extra_iou), boxes.shape[1])
    first = nobody.scatter_reduce(1, slots.flatten(1), wishes.flatten(1), "amin")
    free = _at(taken, slots) == 0
    return Assigned(slots, (got & (slots == best)) | (free & (_at(first, slots) == rows)))


def overlaps(boxes: Tensor, objects: Tensor, there: Tensor) -> Tensor:
    """The largest IoU of each of `boxes` (N, S, 4) with an object (N, M, 4) that is `there` (N, M): (N, S)."""
    at_once = max(1, _PAIRS // (boxes.shape[1] * objects.shape[1]))
    parts = zip(boxes.split(at_once), objects.split(at_once), there.split(at_once), strict=True)
    largest = [
        iou(some[:, :, None], others[:, None]).masked_fill(~present[:, None], 0).amax(-1)
        for some, others, present in parts
    ]
    return torch.cat(largest)


def _candidates(boxes: Tensor, sides: Sequence[Sequence[int]], strides: Sequence[int], anchors: int) -> Tensor:
    """The slots of the cells that the centres of boxes (N, M, 4) are in: (N, M, C); the last cell for the border."""
    x, y = boxes.unflatten(-1, (2, 2)).mean(-2).unbind(-1)
    slots, start = [], 0
    numbers = torch.arange(anchors, device=boxes.device)
    for (height, width), stride in zip(sides, strides, strict=True):
        column, row = (x / stride).long().clamp(0, width - 1), (y / stride).long().clamp(0, height - 1)
        slots.append(start + (row * width + column)[..., None] * anchors + numbers)
        start += height * width * anchors
    return torch.cat(slots, dim=-1)


def _best_free(slots: Tensor, fits: Tensor, there: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best free slot of each row (N, M, 1), whether there was one, (N, M, 1), and what is taken (N, count), 0 or 1.

    Rows wait for each other, that is the rule itself; images go side by side.
    """
    wishes = slots.gather(-1, fits.sort(dim=-1, descending=True, stable=True).indices)
    taken = torch.zeros(len(slots), count, dtype=torch.uint8, device=slots.device)
    best, got = [], []
    for wish, present in zip(wishes.unbind(1), there[..., None].to(torch.uint8).unbind(1), strict=True):
        in_use = taken.gather(1, wish)
        first = in_use.argmin(1, keepdim=True)
        before = in_use.gather(1, first)
        best.append(wish.gather(1, first))
        got.append(present > before)
        taken.scatter_(1, best[-1], before | present)
    return torch.stack(best, 1), torch.stack(got, 1), taken


def _at(values: Tensor, slots: Tensor) -> Tensor:
    """(N, S) at the slots (N, M, C): (N, M, C)."""
    return values.gather(1, slots.flatten(1)).view_as(slots)
