"""Boxes as a network says them: relative to a cell and a prior, or to an anchor.

Every function takes leading axes as they come; what a box is relative to broadcasts against the boxes. A side below
SMALLEST counts as that: rows that teach nothing are encoded too, and must not become infinite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import box_convert

#: The least side, in pixels, that has a logarithm.
SMALLEST = 1e-6

#: The most that a decoded side is of what it is relative to, as a logarithm (torchvision, Detectron).
LARGEST = math.log(1000 / 16)


def yolo_encode(boxes: Tensor, corners: Tensor, priors: Tensor, stride: float | Tensor) -> Tensor:
    """Offsets (..., 4) that `yolo_decode` makes boxes of: b_x / stride - c_x and log b_w / p_w, and so for y and h.

    Args:
        boxes: (..., 4) x1, y1, x2, y2 in pixels.
        corners: (..., 2) column and row of the cell of each box; in its own cell a centre has offsets from 0 to 1.
        priors: (..., 2) widths and heights in pixels.
        stride: pixels of a cell.
    """
    centres, sides = _centred(boxes)
    return torch.cat((centres / stride - corners, (sides / priors).log()), -1)


def yolo_decode(offsets: Tensor, corners: Tensor, priors: Tensor, stride: float | Tensor) -> Tensor:
    """Boxes (..., 4) in pixels of offsets (..., 4): sigmoid(t_x), sigmoid(t_y), t_w, t_h.

    arXiv:1804.02767, section 2.1: b_x = stride (sigmoid(t_x) + c_x), b_w = p_w exp(t_w), and so for y and h. The
    sigmoid is the caller's: YOLOv4's is stretched. `corners`, `priors` and `stride` are as in `yolo_encode`.
    """
    return _cornered((offsets[..., :2] + corners) * stride, priors * offsets[..., 2:].clamp_max(LARGEST).exp())


def delta_encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """Deltas (..., 4), each times its weight: (x - x_a) / w_a, (y - y_a) / h_a, log w / w_a, log h / h_a.

    arXiv:1506.01497, equation 2.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.
        anchors: (..., 4) x1, y1, x2, y2.
        weights: (10, 10, 5, 5) in Fast R-CNN, the inverse of SSD's variances (0.1, 0.1, 0.2, 0.2).
    """
    (centres, sides), (anchor_centres, anchor_sides) = _centred(boxes), _centred(anchors)
    deltas = torch.cat(((centres - anchor_centres) / anchor_sides, (sides / anchor_sides).log()), -1)
    # Numbers one by one: a tensor of them would be copied to the device each time.
    return torch.stack([delta * weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True)], -1)


def delta_decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """Boxes (..., 4) x1, y1, x2, y2 of deltas (..., 4); the arguments are as in `delta_encode`."""
    deltas = torch.stack([delta / weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True)], -1)
    centres, sides = _centred(anchors)
    return _cornered(centres + deltas[..., :2] * sides, sides * deltas[..., 2:].clamp_max(LARGEST).exp())


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (..., 2), and sides (..., 2) of at least SMALLEST."""
    centres, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
    return centres, sides.clamp_min(SMALLEST)


def _cornered(centres: Tensor, sides: Tensor) -> Tensor:
    return box_convert(torch.cat((centres, sides), -1), "cxcywh", "xyxy")
