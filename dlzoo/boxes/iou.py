"""Intersection over union and its generalisations.

Boxes are (..., 4): x1, y1, x2, y2. The leading axes broadcast: boxes1[:, None] and boxes2[None] give all pairs. Half
precision and integers are computed in float32. A box with x2 <= x1 or y2 <= y1 has area 0 and overlaps nothing, not
even itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Return width times height: (..., 4) -> (...)."""
    width, height = _sides(_to_full_precision(boxes))
    return width * height


def iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return intersection over union: (..., 4), (..., 4) -> (...), from 0 to 1. Gradient is zero for disjoint boxes."""
    return _ratio(*_intersection_and_union(_to_full_precision(boxes1), _to_full_precision(boxes2)))


def giou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return IoU minus the fraction of the hull in neither box: (...), from -1 to 1 (arXiv:1902.09630, algorithm 1)."""
    boxes1, boxes2 = _to_full_precision(boxes1), _to_full_precision(boxes2)
    intersection, union = _intersection_and_union(boxes1, boxes2)
    width, height = _hull(boxes1, boxes2)
    return _ratio(intersection, union) - _ratio(width * height - union, width * height)


def diou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return IoU - (distance of centres / diagonal of hull)^2: (...), from -1 to 1 (arXiv:1911.08287, equation 7)."""
    boxes1, boxes2 = _to_full_precision(boxes1), _to_full_precision(boxes2)
    return iou(boxes1, boxes2) - _distance(boxes1, boxes2)


def ciou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return DIoU - alpha v: (...) (arXiv:1911.08287, equations 8 to 11).

    v = 4 / pi^2 (atan w2 / h2 - atan w1 / h1)^2 compares the shapes; its weight alpha = v / (1 - IoU + v) has no
    gradient.
    """
    boxes1, boxes2 = _to_full_precision(boxes1), _to_full_precision(boxes2)
    overlap = iou(boxes1, boxes2)
    v = 4 / math.pi**2 * (_angle(boxes2) - _angle(boxes1)).square()
    with torch.no_grad():
        alpha = _ratio(v, 1 - overlap + v)
    return overlap - _distance(boxes1, boxes2) - alpha * v


def _to_full_precision(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype == torch.float64 else boxes.float()


def _sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height, 0 if the corners are reversed."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).unbind(-1)
    return width, height


def _intersection_and_union(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.maximum(boxes1[..., :2], boxes2[..., :2])
    high = torch.minimum(boxes1[..., 2:], boxes2[..., 2:])
    intersection = area(torch.cat((low, high), -1))
    # In this order, rounding never makes the union smaller than the intersection.
    return intersection, area(boxes1) + (area(boxes2) - intersection)


def _hull(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Return width and height of the smallest box around both boxes."""
    (start1, end1), (start2, end2) = boxes1.split(2, -1), boxes2.split(2, -1)
    low = torch.minimum(torch.minimum(start1, end1), torch.minimum(start2, end2))
    high = torch.maximum(torch.maximum(start1, end1), torch.maximum(start2, end2))
    width, height = (high - low).unbind(-1)
    return width, height


def _distance(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Return (distance of the centres / diagonal of the hull)^2."""
    centres1, centres2 = ((boxes[..., :2] + boxes[..., 2:]) / 2 for boxes in (boxes1, boxes2))
    x, y = (centres1 - centres2).unbind(-1)
    width, height = _hull(boxes1, boxes2)
    return _ratio(x.square() + y.square(), width.square() + height.square())


def _angle(boxes: Tensor) -> Tensor:
    """Return atan(width / height), and 0 if both squares underflow to 0, where atan2 has no gradient."""
    width, height = _sides(boxes)
    nothing = width.square() + height.square() == 0
    return torch.atan2(width.masked_fill(nothing, 0), height.masked_fill(nothing, 1))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, and 0 with a gradient of 0 if whole is 0."""
    nothing = whole <= 0
    return (part / whole.masked_fill(nothing, 1)).masked_fill(nothing, 0)
