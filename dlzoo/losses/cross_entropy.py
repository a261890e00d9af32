"""Cross-entropy."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import BelowOne, NonNegative
from dlzoo.losses.targets import class_indices, class_probabilities, mean_of_sums, sum_valid, to_full_precision


@LOSSES.register(
    "cross_entropy",
    source="Goodfellow et al. 2016, section 6.2.2; smoothing arXiv:1512.00567, section 7",
    targets=("classification", "objects", "masks"),
    soft=True,
)
class CrossEntropy(nn.Module):
    """-log softmax(logits)[target], averaged over the batch: logits (N, K, ...), target (N, ...) int64 -> ().

    With probabilities t (N, K, ...) as the target: -sum over k of t_k log softmax(logits)_k.

    `class_weights` has K numbers; the average is then weighted by them, as in torch, within each micro-batch: with
    trainer.accumulate or several devices every micro-batch has the same weight, whatever its classes. In a run,
    class_weights=balanced is n / (K n_k) for a class with n_k of the n training samples or pixels, K being the classes
    that occur, as in scikit-learn: the mean weight of a sample is 1. A class that does not occur has the weight 1.

    Raises:
        UserError: for class_weights=balanced where no classes were counted, outside a run.
    """

    def __init__(
        self,
        *,
        label_smoothing: BelowOne = 0.0,
        class_weights: tuple[NonNegative, ...] | Literal["balanced"] | None = None,
    ) -> None:
        super().__init__()
        if class_weights == "balanced":
            raise UserError("loss.class_weights=balanced needs the training samples of a run with one class for each"
                            " sample or pixel; give a number for each class instead, such as"
                            " loss.class_weights=[1,2]")  # fmt: skip
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        weights = None if self.class_weights is None else self.class_weights.to(input.dtype)
        if not target.is_floating_point():
            return F.cross_entropy(input, class_indices(input, target), weights, label_smoothing=self.label_smoothing)
        target = class_probabilities(input, target)
        if weights is None:
            return F.cross_entropy(input, target, label_smoothing=self.label_smoothing)
        # torch divides by N here, so that a class index and its one-hot row would have different weights.
        total = F.cross_entropy(input, target, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total / (target.movedim(1, -1) * weights).sum()

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2,): the sum of the weighted losses, and the sum of the class weights of the samples."""
        losses = self.each(input, target)
        if self.class_weights is None:
            weights = torch.ones_like(losses)
        elif target.is_floating_point():
            weights = (target.movedim(1, -1) * self.class_weights).sum(-1)
        else:
            weights = self.class_weights[target]
        return sum_valid(torch.stack([losses, weights]), valid)

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        return mean_of_sums(sums)

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, times the weight of its class if given: (N, ...)."""
        input = to_full_precision(input)
        weights = None if self.class_weights is None else self.class_weights.to(input.dtype)
        target = class_probabilities(input, target) if target.is_floating_point() else class_indices(input, target)
        return F.cross_entropy(input, target, weights, reduction="none", label_smoothing=self.label_smoothing)
