"""Call a loss once before training, so that one which cannot be trained with is an error at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlzoo.config import Config
from dlzoo.core.errors import UserError, first_line


def check_loss(section: Config, loss_fn: Callable[..., Tensor], input: Tensor, target: Tensor, what: str) -> None:
    """Call a loss once, on tensors of the data's shapes.

    Args:
        section: the loss's section of the config.
        loss_fn: the loss, (input, target) -> ().
        input, target: the tensors.
        what: the targets, such as "10 classes".

    Raises:
        UserError: if it fails, returns anything but one finite number, or a number without a gradient.
    """
    named = (f"loss.{key}={value}" for key, value in section.items() if key != "name" and value is not None)
    typed = " ".join((f"loss={section['name']}", *named))
    try:
        # Not a leaf: a loss may change its input in place.
        value = loss_fn(input.requires_grad_().clone(), target)
    except (ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{typed} does not work for {what}: {first_line(error)}") from error
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        raise UserError(f"{typed} returns {_described(value)} on {what}; a loss returns a tensor of one number, such as"
                        " the mean over the samples")  # fmt: skip
    if not value.isfinite():
        raise UserError(f"{typed} gives {value.item()} on {what}")
    if not value.requires_grad:
        raise UserError(f"{typed} has no gradient: its result is computed without the output of the network, or is"
                        " detached from it")  # fmt: skip


def _described(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
