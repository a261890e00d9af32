"""Cross-entropy."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Fraction, NonNegative
from dlzoo.losses.targets import classes, full, over_classes


@LOSSES.register(
    "cross_entropy",
    source="Goodfellow et al. 2016, section 6.2.2; smoothing arXiv:1512.00567, section 7",
    targets=("classification", "objects"),
    soft=True,
)
class CrossEntropy(nn.Module):
    """-log softmax(logits)[target], averaged over the batch: logits (N, K, ...), target (N, ...) int64 -> ().

    With probabilities t (N, K, ...) as the target: -sum over k of t_k log softmax(logits)_k.

    `class_weights` has K numbers; the average is then weighted by them, as torch does, within each part that a batch is
    worked through in: with trainer.accumulate or several devices the parts count the same whatever is in them.
    """

    def __init__(
        self, *, label_smoothing: Fraction = 0.0, class_weights: tuple[NonNegative, ...] | None = None
    ) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.class_weights: Tensor | None
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = full(input)
        weights = None if self.class_weights is None else self.class_weights.to(input.dtype)
        if not target.is_floating_point():
            return F.cross_entropy(input, classes(input, target), weights, label_smoothing=self.label_smoothing)
        target = over_classes(input, target)
        if weights is None:
            return F.cross_entropy(input, target, label_smoothing=self.label_smoothing)
        # torch divides by N here, which would weight a class index and its one-hot row differently.
        total = F.cross_entropy(input, target, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total / (target.movedim(1, -1) * weights).sum()

    def sums(self, input: Tensor, target: Tensor) -> Tensor:
        """(2,): the weighted losses of all samples, and the weights of their classes."""
        losses = self.each(input, target)
        if self.class_weights is None:
            weight = torch.full_like(losses.sum(), losses.numel())
        elif target.is_floating_point():
            weight = (target.movedim(1, -1) * self.class_weights).sum()
        else:
            weight = self.class_weights[target].sum()
        return torch.stack([losses.double().sum(), weight.double()])

    def from_sums(self, sums: Tensor) -> Tensor:
        """The loss of all batches whose sums these are."""
        return sums[0] / sums[1]

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, weighted by its class where classes have weights: (N, ...)."""
        input = full(input)
        weights = None if self.class_weights is None else self.class_weights.to(input.dtype)
        target = over_classes(input, target) if target.is_floating_point() else classes(input, target)
        return F.cross_entropy(input, target, weights, reduction="none", label_smoothing=self.label_smoothing)
