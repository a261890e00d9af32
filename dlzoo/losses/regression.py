"""Losses on the difference between input and target numbers; for classes the target is a one-hot row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import NonNegative, Positive
from dlzoo.losses.targets import is_binary, score_targets, to_full_precision

Link = Literal["identity", "sigmoid", "softmax"]

_TARGETS = ("classification", "regression", "offsets")


@LOSSES.register("mse", source="Bishop 2006, equation 3.12; classes: section 4.1.3", targets=_TARGETS, soft=True)
def mse(*, link: Link = "identity") -> nn.Module:
    """(link(f) - y)^2, averaged over all elements: numbers (N, D), or logits (N, K, ...) and classes (N, ...) -> ()

    A classifier with link=sigmoid may start slowly: the slope of a saturated sigmoid is almost 0.
    """
    return Difference(F.mse_loss, link)


@LOSSES.register("l1", source="Bishop 2006, section 1.5.5; classes: arXiv:1712.09482", targets=_TARGETS)
def l1(*, link: Link | None = None) -> nn.Module:
    """|link(f) - y|, averaged over all elements: numbers (N, D), or logits (N, K, ...) and classes (N, ...) -> ()

    With link=null, numbers are compared directly and classes after a softmax (a sigmoid for one score per sample): the
    median of a one-hot row is 0, so that link=identity tends to predict 0 for every class. Floating targets are
    numbers by default, so probabilities need link=softmax.
    """
    return Difference(F.l1_loss, link)


@LOSSES.register("smooth_l1", source="arXiv:1504.08083, equation 3, where beta = 1", targets=_TARGETS, soft=True)
def smooth_l1(*, beta: NonNegative = 1.0, link: Link = "identity") -> nn.Module:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2; d = link(f) - y, averaged over all elements

    Numbers (N, D), or logits (N, K, ...) and classes (N, ...) -> (). With beta = 0 it is l1.
    """
    return Difference(partial(F.smooth_l1_loss, beta=beta), link)


@LOSSES.register("huber", source="Huber 1964", targets=_TARGETS, soft=True)
def huber(*, delta: Positive = 1.0, link: Link = "identity") -> nn.Module:
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2); d = link(f) - y, averaged over all elements

    Numbers (N, D), or logits (N, K, ...) and classes (N, ...) -> ().
    """
    return Difference(partial(F.huber_loss, delta=delta), link)


class Difference(nn.Module):
    """distance(link(input), target). Class indices become one-hot rows; 0 or 1 for one score per sample is kept.

    Raises:
        UserError: if the shapes do not match, or for link=softmax with one score per sample.
    """

    def __init__(self, distance: Callable[..., Tensor], link: Link | None) -> None:
        super().__init__()
        self.distance, self.link = distance, link

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        return self.distance(self._linked(input, target), score_targets(input, target))

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the sum over the numbers of each sample, without the link: (N, D), (N, D) -> (N,)."""
        return self.distance(to_full_precision(input), to_full_precision(target), reduction="none").sum(1)

    def _linked(self, input: Tensor, target: Tensor) -> Tensor:
        binary = is_binary(input, target)
        link = self.link
        if link is None:
            link = "identity" if target.is_floating_point() else "sigmoid" if binary else "softmax"
        if link == "softmax" and binary:
            raise UserError(
                "loss.link=softmax needs a score for each class; for one score per sample set loss.link=sigmoid"
            )
        if link == "softmax":
            return input.softmax(1)
        return input.sigmoid() if link == "sigmoid" else input
