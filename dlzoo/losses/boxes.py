"""Losses for boxes: 1 minus a measure of the IoU family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from dlzoo.boxes import iou as algebra
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import NonNegative


@dataclass(frozen=True)
class BoxLossSettings:
    """`weight`: weight of the box loss of a detector, relative to the loss of its classes."""

    weight: NonNegative = 1.0


@LOSSES.register("iou", source="arXiv:1902.09630, algorithm 2", targets=("boxes",))
def iou() -> nn.Module:
    """1 - IoU: boxes (N, 4) and targets (N, 4), both x1, y1, x2, y2 -> (); gradient is zero for disjoint boxes"""
    return BoxLoss(algebra.iou)


@LOSSES.register("giou", source="arXiv:1902.09630, algorithms 1 and 2", targets=("boxes",))
def giou() -> nn.Module:
    """1 - IoU + (hull - union) / hull, hull is the smallest box around both: boxes (N, 4), targets (N, 4) -> ()"""
    return BoxLoss(algebra.giou)


@LOSSES.register("diou", source="arXiv:1911.08287, equation 7", targets=("boxes",))
def diou() -> nn.Module:
    """1 - IoU + (distance of the centres / diagonal of the hull)^2: boxes (N, 4), targets (N, 4) -> ()"""
    return BoxLoss(algebra.diou)


@LOSSES.register("ciou", source="arXiv:1911.08287, equations 8 to 11", targets=("boxes",))
def ciou() -> nn.Module:
    """DIoU's loss + alpha v, v = 4 / pi^2 (atan w_t / h_t - atan w / h)^2, alpha = v / (1 - IoU + v) constant"""
    return BoxLoss(algebra.ciou)


class BoxLoss(nn.Module):
    """1 - measure(boxes, targets), averaged; 0 for no boxes. `each` is the loss of each box: (N, 4), (N, 4) -> (N,).

    Raises:
        UserError: if boxes and targets are not both (N, 4).
    """

    def __init__(self, measure: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.measure = measure

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        losses = self.each(input, target)
        return losses.sum() / max(losses.numel(), 1)

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each box: (N,)."""
        if input.shape != target.shape or input.shape[-1:] != (4,):
            raise UserError(f"boxes {tuple(input.shape)} and targets {tuple(target.shape)} must both be (N, 4)")
        return 1 - self.measure(input, target)
