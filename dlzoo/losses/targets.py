"""Conversion of targets for losses: class indices to one-hot rows, half precision to float32."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.core.errors import UserError


def to_full_precision(values: Tensor) -> Tensor:
    """Return `values` in float32, or unchanged in float64: sums and exponentials of half precision overflow."""
    return values if values.dtype == torch.float64 else values.float()


def is_binary(input: Tensor, target: Tensor) -> bool:
    """Return whether the target is 0 or 1 for each score: integers in the shape of the input."""
    return not target.is_floating_point() and target.shape == input.shape


def class_indices(input: Tensor, target: Tensor) -> Tensor:
    """Return class indices (N, ...) int64 for scores (N, K, ...).

    Raises:
        UserError: for floating targets, or if the shapes do not match.
    """
    if target.is_floating_point():
        raise UserError(
            f"this loss takes class indices, not a target of {target.dtype}; convert it with target.argmax(1)"
        )
    if input.dim() < 2 or target.shape != input.shape[:1] + input.shape[2:]:
        raise _misfit(input, target, f"expected class indices {tuple(input.shape[:1] + input.shape[2:])}")
    return target.long()


def one_hot(input: Tensor, target: Tensor) -> Tensor:
    """Return class indices (N, ...) as one-hot rows (N, K, ...) in the dtype of the input.

    Raises:
        UserError: as `class_indices`.
    """
    return torch.zeros_like(input).scatter_(1, class_indices(input, target).unsqueeze(1), 1.0)


def signs(input: Tensor, target: Tensor) -> Tensor:
    """Return 1 or -1 for each score, in its dtype: for targets 1 or 0, or for the class of a sample and the rest.

    Raises:
        UserError: as `class_indices`.
    """
    return 2 * (target.to(input.dtype) if is_binary(input, target) else one_hot(input, target)) - 1


def class_probabilities(input: Tensor, target: Tensor) -> Tensor:
    """Return class indices as one-hot rows, and probabilities unchanged: (N, K, ...) in the dtype of the input.

    Raises:
        UserError: if the shapes do not match.
    """
    if not target.is_floating_point():
        return one_hot(input, target)
    if target.shape != input.shape:
        raise _misfit(input, target, "expected the shape of the scores, or class indices")
    return target.to(input.dtype)


def score_targets(input: Tensor, target: Tensor) -> Tensor:
    """Return the target of each score: numbers and 0 or 1 unchanged, class indices as one-hot rows.

    Raises:
        UserError: if the shapes do not match.
    """
    return target.to(input.dtype) if is_binary(input, target) else class_probabilities(input, target)


def rows_of_classes(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return values (N, K, ...) as a row for each class, (K, N * ...), 0 where `valid` (N, ...) is false."""
    if valid is not None:
        values = values.where(valid.unsqueeze(1), 0)
    return values.transpose(0, 1).flatten(1)


def sum_valid(terms: Tensor, valid: Tensor | None) -> Tensor:
    """Return the sums (T,) float64 of terms (T, N, ...), without the elements where `valid` (N, ...) is false."""
    if valid is not None:
        terms = terms.where(valid, 0)
    return terms.flatten(1).sum(1, dtype=torch.float64)


def mean_of_sums(sums: Tensor) -> Tensor:
    """Return sums[0] / sums[1], of the losses and of their weights; 0 if there is no weight."""
    return sums[0] / sums[1].where(sums[1] > 0, 1)


def _misfit(input: Tensor, target: Tensor, expected: str) -> UserError:
    return UserError(f"a target of shape {tuple(target.shape)} does not fit scores {tuple(input.shape)}: {expected}")
