"""Negative log-likelihoods: of one class among K, and of each class against the rest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.losses.targets import class_indices, mean_of_sums, score_targets, sum_valid, to_full_precision


@LOSSES.register("nll", source="Goodfellow et al. 2016, section 5.5", targets=("classification", "objects", "masks"))
class NegativeLogLikelihood(nn.Module):
    """-log P(target), P the softmax, averaged over the batch: logits (N, K, ...), target (N, ...) int64 -> ().

    It is cross_entropy without settings. (torch's nll_loss takes log-probabilities, which no network here returns.)
    """

    def __init__(self) -> None:  # the registry reads the settings from this signature; nn.Module's accepts anything
        super().__init__()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.each(input, target).mean()

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample: (N, ...)."""
        input = to_full_precision(input)
        return F.nll_loss(F.log_softmax(input, 1), class_indices(input, target), reduction="none")

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2,): the sum of the losses, and their number."""
        losses = self.each(input, target)
        return sum_valid(torch.stack([losses, torch.ones_like(losses)]), valid)

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        return mean_of_sums(sums)


@LOSSES.register("bce", source="Bishop 2006, equation 4.90", targets=("classification", "objects", "masks"), soft=True)
class BinaryCrossEntropy(nn.Module):
    """-t log sigmoid(f) - (1 - t) log(1 - sigmoid(f)), averaged over all scores: logits (N, K, ...) -> ().

    Each class is a binary problem: t is the one-hot row of a class index, a probability (N, K, ...), or 0 or 1 for one
    score per sample.
    """

    independent = True

    def __init__(self) -> None:  # the registry reads the settings from this signature; nn.Module's accepts anything
        super().__init__()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        return F.binary_cross_entropy_with_logits(input, score_targets(input, target))

    def each(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, the sum over its classes: (N, ...)."""
        return self._each(input, target).sum(1)

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2,): the sum of the losses, each the mean over the classes, and their number."""
        losses = self._each(input, target)
        losses = losses.mean(1) if losses.dim() > 1 else losses
        return sum_valid(torch.stack([losses, torch.ones_like(losses)]), valid)

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        return mean_of_sums(sums)

    def _each(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        return F.binary_cross_entropy_with_logits(input, score_targets(input, target), reduction="none")
