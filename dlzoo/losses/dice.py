"""Dice loss, for classes of very different sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Positive
from dlzoo.losses.targets import class_probabilities, is_binary, rows_of_classes, to_full_precision


@LOSSES.register(
    "dice",
    source="arXiv:1606.04797, section 3, with smoothing",
    targets=("classification", "masks"),
    soft=True,
)
class Dice(nn.Module):
    """1 - (2 sum p t + smooth) / (sum p^2 + sum t^2 + smooth), averaged over the classes: logits (N, K, ...) -> ().

    p is the softmax, t the one-hot row of a class index or a probability; or p is the sigmoid of one score per sample
    and t 0 or 1. For each class the sums run over the batch and all its pixels. The squares in the denominator, as in
    V-Net, make p = t the minimum for probabilities too; sum p + sum t would not. The loss of a class that is neither
    present nor predicted is 0.
    """

    def __init__(self, *, smooth: Positive = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.from_sums(self.sums(input, target))

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2, K): sum p t, and sum p^2 + sum t^2, for each class; K is 1 for one score per sample."""
        input = to_full_precision(input)
        if is_binary(input, target):
            p, target = (rows_of_classes(values.flatten()[:, None]) for values in (input.sigmoid(), target))
        else:
            target = class_probabilities(input, target)
            p, target = (rows_of_classes(values, valid) for values in (input.softmax(1), target))
        return torch.stack([(p * target).sum(1), p.square().sum(1) + target.square().sum(1)])

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        overlap, sizes = sums
        return 1 - ((2 * overlap + self.smooth) / (sizes + self.smooth)).mean()
