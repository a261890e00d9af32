"""Focal loss."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Fraction, NonNegative
from dlzoo.losses.targets import full, is_binary, over_classes, per_score


@LOSSES.register("focal", source="arXiv:1708.02002, equation 5", targets=("classification", "objects"), soft=True)
class Focal(nn.Module):
    """-alpha (1 - p)^gamma log p of the target's probability p: logits (N, K, ...), target (N, ...) -> ().

    `form` is softmax: p is the class's among K, `alpha` has K weights; averaged over the samples. Or sigmoid: p is that
    of each score's own answer (the class against the rest, or 0 or 1 for one score a sample), `alpha` weights the ones
    and 1 - alpha the zeros; averaged over all scores. Targets may be probabilities t: each class then counts by its t.

    Raises:
        UserError: for an `alpha` of the other form.
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
                raise UserError("loss.alpha is a list: loss.form=sigmoid takes one number, such as loss.alpha=0.25")
            weights = torch.tensor(alpha)
        elif alpha is not None:
            if form == "softmax":
                raise UserError(
                    f"loss.alpha={alpha:g} is one number: loss.form=softmax takes a list, a weight for each class;"
                    " a number goes with loss.form=sigmoid"
                )
            self.share = alpha
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def independent(self) -> bool:
        """Whether each class is told from the rest, and not from the others."""
        return self.form == "sigmoid"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = full(input)
        return self._sigmoid(input, target).mean() if self.independent else self._softmax(input, target).mean()

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, of the sigmoid form the sum over its classes: (N, ...)."""
        input = full(input)
        return self._sigmoid(input, target).sum(1) if self.independent else self._softmax(input, target)

    def _sigmoid(self, input: Tensor, target: Tensor) -> Tensor:
        target = per_score(input, target)
        log_p, log_q = F.logsigmoid(input), F.logsigmoid(-input)
        ones, zeros = target * self._term(log_p, log_q), (1 - target) * self._term(log_q, log_p)
        if self.share is not None:
            ones, zeros = self.share * ones, (1 - self.share) * zeros
        return ones + zeros

    def _softmax(self, input: Tensor, target: Tensor) -> Tensor:
        if is_binary(input, target):
            raise UserError("0 or 1 for each score needs loss.form=sigmoid; loss.form=softmax takes class indices")
        target = over_classes(input, target)
        if self.class_weights is not None:
            target = target * self._weights(input)
        log_p = F.log_softmax(input, 1)
        return (target * self._term(log_p, _log_of_the_rest(input, log_p))).sum(1)

    def _term(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """-(1 - p)^gamma log p; a power of 1 - p itself has an infinite slope at p = 1 for gamma < 1."""
        return -(self.gamma * log_q).exp() * log_p

    def _weights(self, input: Tensor) -> Tensor:
        weights = self.class_weights
        assert weights is not None
        if len(weights) != input.shape[1]:
            raise UserError(f"loss.alpha has {len(weights)} weights for {input.shape[1]} classes")
        return weights.to(input.dtype).view(-1, *[1] * (input.dim() - 2))


def _log_of_the_rest(input: Tensor, log_p: Tensor) -> Tensor:
    """log(1 - p) of each class, from the logits (N, K, ...) and the log of their softmax.

    The likeliest class may have p = 1 in floating point: for it the others are summed. The rest have at most 1/2.
    """
    largest = input.argmax(1, keepdim=True)
    is_largest = torch.zeros_like(input, dtype=torch.bool).scatter_(1, largest, True)
    others = input.masked_fill(is_largest, float("-inf")).logsumexp(1, keepdim=True)
    of_largest = others - input.logsumexp(1, keepdim=True)
    return torch.where(is_largest, of_largest, torch.log1p(-log_p.masked_fill(is_largest, -1.0).exp()))
