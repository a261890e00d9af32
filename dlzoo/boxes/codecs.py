"""Encoding and decoding of boxes relative to a grid cell and a prior, or to an anchor.

Leading axes are arbitrary; cells, priors and anchors broadcast against the boxes. Sides are clamped to at least
SMALLEST: rows of weight 0 are encoded too, and must stay finite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.ops import box_convert

#: Minimal side in pixels, so that its logarithm is finite.
SMALLEST = 1e-6

#: Maximal logarithm of a decoded side relative to its prior or anchor (torchvision, Detectron).
LARGEST = math.log(1000 / 16)


def yolo_encode(boxes: Tensor, corners: Tensor, priors: Tensor, stride: float | Tensor) -> Tensor:
    """Return the offsets (..., 4) that `yolo_decode` inverts: b_x / stride - c_x, log b_w / p_w, likewise for y and h.

    Args:
        boxes: (..., 4) x1, y1, x2, y2 in pixels.
        corners: (..., 2) column and row of the cell of each box; a centre inside its cell has offsets from 0 to 1.
        priors: (..., 2) widths and heights in pixels.
        stride: side of a cell in pixels.
    """
    centres, sides = _centres_and_sides(boxes)
    return torch.cat((centres / stride - corners, (sides / priors).log()), -1)


def yolo_decode(offsets: Tensor, corners: Tensor, priors: Tensor, stride: float | Tensor) -> Tensor:
    """Return boxes (..., 4) in pixels from offsets (..., 4): sigmoid(t_x), sigmoid(t_y), t_w, t_h.

    arXiv:1804.02767, section 2.1: b_x = stride (sigmoid(t_x) + c_x), b_w = p_w exp(t_w), likewise for y and h.
    The caller applies the sigmoid, because YOLOv4 scales it. `corners`, `priors` and `stride` are as in `yolo_encode`.
    """
    return _to_corners((offsets[..., :2] + corners) * stride, priors * offsets[..., 2:].clamp_max(LARGEST).exp())


def delta_encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """Return deltas (..., 4), each times its weight: (x - x_a) / w_a, (y - y_a) / h_a, log w / w_a, log h / h_a.

    arXiv:1506.01497, equation 2.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.
        anchors: (..., 4) x1, y1, x2, y2.
        weights: (10, 10, 5, 5) in Fast R-CNN, the inverse of SSD's variances (0.1, 0.1, 0.2, 0.2).
    """
    (centres, sides), (anchor_centres, anchor_sides) = _centres_and_sides(boxes), _centres_and_sides(anchors)
    deltas = torch.cat(((centres - anchor_centres) / anchor_sides, (sides / anchor_sides).log()), -1)
    # Multiplied one by one: a tensor of weights would be copied to the device on each call.
    return torch.stack([delta * weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True)], -1)


def delta_decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = (1, 1, 1, 1)) -> Tensor:
    """Return boxes (..., 4) x1, y1, x2, y2 from deltas (..., 4); the arguments are as in `delta_encode`."""
    deltas = torch.stack([delta / weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True)], -1)
    centres, sides = _centres_and_sides(anchors)
    return _to_corners(centres + deltas[..., :2] * sides, sides * deltas[..., 2:].clamp_max(LARGEST).exp())


def _centres_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres (..., 2), and sides (..., 2) of at least SMALLEST."""
    centres, sides = box_convert(boxes, "xyxy", "cxcywh").split(2, -1)
    return centres, sides.clamp_min(SMALLEST)


def _to_corners(centres: Tensor, sides: Tensor) -> Tensor:
    return box_convert(torch.cat((centres, sides), -1), "cxcywh", "xyxy")
