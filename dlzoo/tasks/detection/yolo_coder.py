"""Grid of a YOLO's predictions, and encoding and decoding of its boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dlzoo.boxes.codecs import yolo_decode, yolo_encode

#: The smallest ratio of a side to its reference: a box without area has no gradient.
_SMALLEST = 1e-3


class Grid(NamedTuple):
    """Slots of an image: one anchor in one cell of one feature map each.

    They are numbered map by map (fine to coarse), row by row, cell by cell, and in a cell anchor by anchor.

    Attributes:
        cells: (S, 2) column and row of the slot's cell.
        strides: (S, 1) side of the cell, in pixels.
        priors: (S, 2) width and height of the anchor, in pixels.
        image: (1, 2) width and height of all cells of a map, in pixels.
    """

    cells: Tensor
    strides: Tensor
    priors: Tensor
    image: Tensor

    def of(self, slots: Tensor) -> Grid:
        """Return the grid of `slots` (R,) int64 only: cells (R, 2), ..."""
        return Grid(self.cells[slots], self.strides[slots], self.priors[slots], self.image)

    def anchors(self) -> Tensor:
        """Return every slot's anchor as a box around the centre of its cell: (S, 4) in pixels."""
        middles = (self.cells + 0.5) * self.strides
        return torch.cat([middles - self.priors / 2, middles + self.priors / 2], dim=-1)


def grid(sides: Sequence[Sequence[int]], strides: Sequence[int], anchors: Tensor) -> Grid:
    """Return the slots of feature maps of `sides` (height, width), with `anchors` (maps, A, 2) in pixels."""
    cells, pixels, priors = [], [], []
    for (height, width), stride, boxes in zip(sides, strides, anchors, strict=True):
        columns, rows = (torch.arange(side, device=anchors.device) for side in (width, height))
        corners = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        cells.append(corners.reshape(-1, 2).repeat_interleave(len(boxes), 0).to(anchors.dtype))
        pixels.append(torch.full_like(cells[-1][:, :1], stride))
        priors.append(boxes.repeat(height * width, 1))
    image = [torch.full_like(anchors[:1, 0, :1], strides[0] * side) for side in (sides[0][1], sides[0][0])]
    return Grid(torch.cat(cells), torch.cat(pixels), torch.cat(priors), torch.cat(image, dim=1))


@dataclass(frozen=True)
class BoxCoder:
    """Conversion between four outputs of the network and a box.

    The centre is cell + s sigmoid(t) - (s - 1) / 2 in units of cells, s = `grid_scale`: above 1 a centre reaches the
    cell's border (arXiv:2004.10934, section 3.4). Width and height by `offsets`, with output t: log is
    anchor * e^t (arXiv:1804.02767, section 2.1), ratio is anchor * t, direct is t times the image's side.
    """

    offsets: Literal["log", "ratio", "direct"] = "log"
    grid_scale: float = 1.0

    def read(self, output: Tensor) -> Tensor:
        """Convert outputs (..., 4) to offsets (..., 4): of the centre from the cell's corner, and t."""
        centre = self.grid_scale * output[..., :2].sigmoid() - (self.grid_scale - 1) / 2
        return torch.cat([centre, output[..., 2:4]], dim=-1)

    def decode(self, offsets: Tensor, slots: Grid) -> Tensor:
        """Decode offsets (..., R, 4) of R slots to boxes (..., R, 4) in pixels."""
        centres, sizes = offsets.split(2, dim=-1)
        logs = sizes.clamp_min(math.log(_SMALLEST)) if self.offsets == "log" else sizes.clamp_min(_SMALLEST).log()
        return yolo_decode(torch.cat([centres, logs], dim=-1), slots.cells, self._unit(slots), slots.strides)

    def encode(self, boxes: Tensor, slots: Grid) -> Tensor:
        """Encode boxes (R, 4) in pixels as the offsets (R, 4) of their slots."""
        offsets = yolo_encode(boxes, slots.cells, self._unit(slots), slots.strides)
        return offsets if self.offsets == "log" else torch.cat([offsets[..., :2], offsets[..., 2:].exp()], dim=-1)

    def _unit(self, slots: Grid) -> Tensor:
        return slots.image if self.offsets == "direct" else slots.priors
