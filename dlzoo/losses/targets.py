"""What a target means to a loss: class indices become one-hot rows, half precision becomes float32."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.core.errors import UserError


def full(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 if they are: sums and exponents of half precision overflow."""
    return values if values.dtype == torch.float64 else values.float()


def is_binary(input: Tensor, target: Tensor) -> bool:
    """Whether the target says 0 or 1 to each score: integers in the shape of the input."""
    return not target.is_floating_point() and target.shape == input.shape


def classes(input: Tensor, target: Tensor) -> Tensor:
    """Class indices (N, ...) int64 for scores (N, K, ...).

    Raises:
        UserError: for floating targets, and where the shapes do not fit.
    """
    if target.is_floating_point():
        raise UserError(f"this loss takes class indices, not a target of {target.dtype}; targets.argmax(1) gives them")
    if input.dim() < 2 or target.shape != input.shape[:1] + input.shape[2:]:
        raise _misfit(input, target, f"need class indices {tuple(input.shape[:1] + input.shape[2:])}")
    return target.long()


def one_hot(input: Tensor, target: Tensor) -> Tensor:
    """Class indices (N, ...) as rows (N, K, ...) of the input's type: 1 for the class, 0 for the others.

    Raises:
        UserError: as `classes`.
    """
    return torch.zeros_like(input).scatter_(1, classes(input, target).unsqueeze(1), 1.0)


def signs(input: Tensor, target: Tensor) -> Tensor:
    """1 or -1 for each score, in its type: for 1 or 0, or for the class of a sample and the rest.

    Raises:
        UserError: as `classes`.
    """
    return 2 * (target.to(input.dtype) if is_binary(input, target) else one_hot(input, target)) - 1


def over_classes(input: Tensor, target: Tensor) -> Tensor:
    """Class indices as one-hot rows, probabilities (N, K, ...) as they are: (N, K, ...) of the input's type.

    Raises:
        UserError: where the shapes do not fit.
    """
    if not target.is_floating_point():
        return one_hot(input, target)
    if target.shape != input.shape:
        raise _misfit(input, target, "need their shape, or class indices")
    return target.to(input.dtype)


def per_score(input: Tensor, target: Tensor) -> Tensor:
    """What each score should be: numbers as they are, 0 or 1 for one score a sample, one-hot rows for class indices.

    Raises:
        UserError: where the shapes do not fit.
    """
    return target.to(input.dtype) if is_binary(input, target) else over_classes(input, target)


def _misfit(input: Tensor, target: Tensor, expected: str) -> UserError:
    return UserError(f"a target of shape {tuple(target.shape)} does not fit scores {tuple(input.shape)}: {expected}")
