"""Boxes that are moved by the gradient of a loss alone: what it does, without a network between."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.boxes.iou import iou
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import PositiveInt


@MODELS.register("moved_boxes", source="arXiv:1911.08287, algorithm 1", init="torch", tasks=("regress",), tables=True)
class MovedBoxes(nn.Module):
    """Each pair of data=box_pairs has a centre, a width and a height to learn: features (N, 9) -> corners (N, 4).

    A step of gradient descent moves a box by (2 - IoU) times the gradient of its own loss, whatever the number of boxes
    that the loss is a mean of. `pairs` is how many there may be: 343 a point.

    Raises:
        UserError: for other features.
    """

    def __init__(self, *, num_classes: int, in_channels: int, image_size: int, pairs: PositiveInt = 34_300) -> None:
        super().__init__()
        if (in_channels, num_classes) != (9, 4):
            raise UserError("model=moved_boxes is for data=box_pairs")
        self.head = nn.Embedding(pairs, 4)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        number, start, target = x.flatten(1).split([1, 4, 4], dim=1)
        moved = start + self.head(number[:, 0].long())
        with torch.no_grad():
            weight = len(moved) * (2 - iou(_corners(moved), _corners(target)))[:, None]
        # As it was, with `weight` times the gradient.
        return _corners(moved.detach() + weight * (moved - moved.detach()))


def _corners(boxes: Tensor) -> Tensor:
    """Convert boxes (N, 4) from centre, width and height to corners."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)
