"""Tversky loss, for classes of very different sizes where misses and false alarms do not cost the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import NonNegative, Positive
from dlzoo.losses.targets import is_binary, one_hot, rows_of_classes, to_full_precision


@LOSSES.register("tversky", source="arXiv:1706.05721, with smoothing", targets=("classification", "masks"))
class Tversky(nn.Module):
    """1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth), averaged over the classes: logits (N, K, ...) -> ().

    TP = sum p t, FP = sum p (1 - t) and FN = sum (1 - p) t; p is the softmax and t the one-hot row of a class index, or
    for one score per sample its sigmoid and 0 or 1. For each class the sums run over the batch and all its pixels.
    beta > alpha makes a missed pixel cost more than a false alarm. alpha = beta = 0.5 is Dice with sum p + sum t in the
    denominator, alpha = beta = 1 the Jaccard index. The loss of a class that is neither present nor predicted is 0.

    Raises:
        UserError: if alpha and beta are both 0.
    """

    def __init__(self, *, alpha: NonNegative = 0.3, beta: NonNegative = 0.7, smooth: Positive = 1.0) -> None:
        super().__init__()
        if alpha == beta == 0:
            raise UserError("loss.alpha and loss.beta are both 0, so that no mistake costs anything; set one above 0")
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.from_sums(self.sums(input, target))

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (3, K): TP, FP and FN of each class; K is 1 for one score per sample."""
        input = to_full_precision(input)
        if is_binary(input, target):
            p, target = (rows_of_classes(values.flatten()[:, None]) for values in (input.sigmoid(), target))
        else:
            p, target = (rows_of_classes(values, valid) for values in (input.softmax(1), one_hot(input, target)))
        return torch.stack([(p * target).sum(1), (p * (1 - target)).sum(1), ((1 - p) * target).sum(1)])

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        hits, false_alarms, misses = sums
        wrong = self.alpha * false_alarms + self.beta * misses
        return (wrong / (hits + wrong + self.smooth)).mean()
