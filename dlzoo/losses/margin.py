"""Losses on the margin between the right score and the wrong ones: perceptron and hinge losses."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import NonNegative, Positive
from dlzoo.losses.targets import class_indices, is_binary, one_hot, signs, to_full_precision


@LOSSES.register("perceptron", source="Rosenblatt 1958; Bishop 2006, equation 4.54", targets=("classification",))
class Perceptron(nn.Module):
    """max(0, largest wrong score - right score - tolerance): logits (N, K, ...), target (N, ...) -> ().

    For one score per sample: max(0, -y f - tolerance), y = 1 or -1. Equal scores count as a mistake, as in Rosenblatt's
    rule: the loss is 0 there but its gradient is not, so that a network of zeros can learn.
    """

    def __init__(self, *, tolerance: NonNegative = 0.0) -> None:
        super().__init__()
        self.tolerance = tolerance

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        lack = -signs(input, target) * input if is_binary(input, target) else _missing_margin(input, target)
        lack = lack - self.tolerance
        # Not relu or clamp_min: their gradient at 0 is 0.
        return lack.masked_fill(lack < 0, 0).mean()


@LOSSES.register(
    "hinge",
    source="Crammer and Singer 2001; Weston and Watkins 1999; one_vs_rest: arXiv:1306.0239, section 2",
    targets=("classification",),
)
class Hinge(nn.Module):
    """max(0, margin + largest wrong score - right score): logits (N, K, ...), target (N, ...) -> ().

    `form` is crammer_singer as above, weston_watkins: the sum over wrong k of max(0, margin + f_k - f_right), or
    one_vs_rest: max(0, margin - y f), y = 1 for the class and -1 for the rest, averaged over all scores. With `squared`
    each max(0, .) is squared. For one score per sample all are max(0, margin - y f).
    """

    def __init__(
        self,
        *,
        form: Literal["crammer_singer", "weston_watkins", "one_vs_rest"] = "crammer_singer",
        squared: bool = False,
        margin: Positive = 1.0,
    ) -> None:
        super().__init__()
        self.form, self.squared, self.margin = form, squared, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        if self.form == "one_vs_rest" or is_binary(input, target):
            return self._excess(-signs(input, target) * input).mean()
        if self.form == "crammer_singer":
            return self._excess(_missing_margin(input, target)).mean()
        excess = self._excess(input - _right_score(input, target).unsqueeze(1))
        return excess.masked_fill(one_hot(input, target).bool(), 0).sum(1).mean()

    def _excess(self, lack: Tensor) -> Tensor:
        excess = (self.margin + lack).clamp_min(0)
        return excess.square() if self.squared else excess


def _right_score(input: Tensor, target: Tensor) -> Tensor:
    """Return the score of the right class: (N, ...)."""
    return input.gather(1, class_indices(input, target).unsqueeze(1)).squeeze(1)


def _missing_margin(input: Tensor, target: Tensor) -> Tensor:
    """Return the largest wrong score minus the right one: (N, ...)."""
    wrong = input.masked_fill(one_hot(input, target).bool(), float("-inf"))
    return wrong.amax(1) - _right_score(input, target)
