"""Overlaps of very many pairs of boxes: iou.py's measure, ten times as fast, in the form that suppression needs."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection / sum of areas, all pairs of (4, G, A) and (4, G, B) boxes: (G, A, B), from 0 to 0.5.

    It is IoU / (1 + IoU); 0 of a box without an area. Rows are x1, y1, x2, y2: numbers of a kind lie side by side.
    """
    x1, y1, x2, y2 = first[..., None]
    u1, v1, u2, v2 = second[:, :, None]
    width = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_min_(0)
    height = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1))
    area = _area(x1, y1, x2, y2) + torch.finfo(first.dtype).tiny
    return width.mul_(height).clamp_min_(0).div_(area + _area(u1, v1, u2, v2))


def _area(x1: Tensor, y1: Tensor, x2: Tensor, y2: Tensor) -> Tensor:
    return (x2 - x1).clamp_min(0) * (y2 - y1).clamp_min(0)
