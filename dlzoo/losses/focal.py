"""Focal loss."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Fraction, NonNegative
from dlzoo.losses.targets import (
    class_probabilities,
    is_binary,
    mean_of_sums,
    score_targets,
    sum_valid,
    to_full_precision,
)


@LOSSES.register(
    "focal", source="arXiv:1708.02002, equation 5", targets=("classification", "objects", "masks"), soft=True
)
class Focal(nn.Module):
    """-alpha (1 - p)^gamma log p of the target's probability p: logits (N, K, ...), target (N, ...) -> ().

    form=softmax: p is the probability of the class among K, `alpha` has K weights; averaged over the samples.
    form=sigmoid: each score is a binary problem (the class against the rest, or 0 or 1 for one score per sample),
    `alpha` weights the ones and 1 - alpha the zeros; averaged over all scores. Targets may be probabilities t: each
    class is then weighted by its t.

    Raises:
        UserError: if `alpha` does not fit `form`.
    """

    def __init__(
        self,
        *,
        form: Literal["softmax", "sigmoid"] = "softmax",
        gamma: NonNegative = 2.0,
        alpha: Fraction | tuple[NonNegative, ...] | None = None,
    ) -> None:
        super().__init__()
        self.form, self.gamma = form, gamma
        self.class_weights: Tensor | None
        self.share: float | None = None
        weights = None
        if isinstance(alpha, tuple):
            if form == "sigmoid":
                raise UserError("loss.alpha is a list, but loss.form=sigmoid takes one number, such as loss.alpha=0.25")
            weights = torch.tensor(alpha)
        elif alpha is not None:
            if form == "softmax":
                raise UserError(
                    f"loss.alpha={alpha:g} is one number, but loss.form=softmax takes a weight for each class;"
                    " for a number set loss.form=sigmoid"
                )
            self.share = alpha
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def independent(self) -> bool:
        """Whether classes are independent binary problems, and not exclusive."""
        return self.form == "sigmoid"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        return self._sigmoid(input, target).mean() if self.independent else self._softmax(input, target).mean()

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, for form=sigmoid the sum over its classes: (N, ...)."""
        input = to_full_precision(input)
        return self._sigmoid(input, target).sum(1) if self.independent else self._softmax(input, target)

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2,): the sum of the losses, and their number."""
        input = to_full_precision(input)
        losses = self._sigmoid(input, target).mean(1) if self.independent else self._softmax(input, target)
        return sum_valid(torch.stack([losses, torch.ones_like(losses)]), valid)

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        return mean_of_sums(sums)

    def _sigmoid(self, input: Tensor, target: Tensor) -> Tensor:
        target = score_targets(input, target)
        log_p, log_q = F.logsigmoid(input), F.logsigmoid(-input)
        ones, zeros = target * self._term(log_p, log_q), (1 - target) * self._term(log_q, log_p)
        if self.share is not None:
            ones, zeros = self.share * ones, (1 - self.share) * zeros
        return ones + zeros

    def _softmax(self, input: Tensor, target: Tensor) -> Tensor:
        if is_binary(input, target):
            raise UserError(
                "targets of 0 or 1 for each score need loss.form=sigmoid; loss.form=softmax takes class indices"
            )
        target = class_probabilities(input, target)
        if self.class_weights is not None:
            target = target * self._weights(input)
        log_p = F.log_softmax(input, 1)
        return (target * self._term(log_p, _log_one_minus_p(input, log_p))).sum(1)

    def _term(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """Return -(1 - p)^gamma log p from logarithms: (1 - p)^gamma has an infinite slope at p = 1 for gamma < 1."""
        return -(self.gamma * log_q).exp() * log_p

    def _weights(self, input: Tensor) -> Tensor:
        weights = self.class_weights
        assert weights is not None
        if len(weights) != input.shape[1]:
            raise UserError(
                f"loss.alpha has {len(weights)} weights for {input.shape[1]} classes; give one for each class"
            )
        return weights.to(input.dtype).view(-1, *[1] * (input.dim() - 2))


def _log_one_minus_p(input: Tensor, log_p: Tensor) -> Tensor:
    """Return log(1 - p) of each class, from the logits (N, K, ...) and the log of their softmax.

    The most probable class may have p = 1 in floating point, so the others are summed for it; these have p <= 1/2.
    """
    largest = input.argmax(1, keepdim=True)
    is_largest = torch.zeros_like(input, dtype=torch.bool).scatter_(1, largest, True)
    others = input.masked_fill(is_largest, float("-inf")).logsumexp(1, keepdim=True)
    of_largest = others - input.logsumexp(1, keepdim=True)
    return torch.where(is_largest, of_largest, torch.log1p(-log_p.masked_fill(is_largest, -1.0).exp()))
