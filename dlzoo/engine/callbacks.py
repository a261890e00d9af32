"""A user's own Lightning callbacks: which of them have to see every step."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl

from dlzoo.core.errors import UserError
from dlzoo.engine.recipe import Observed

#: The hooks that Lightning calls for each batch, backward pass or optimizer step.
_OF_STEPS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
)


def observed_by(callbacks: Sequence[pl.Callback]) -> Observed | None:
    """How closely the callbacks follow a training.

    With a hook that Lightning would call for each step, the training runs in ranges of one step and through Lightning's
    wrappers of the backward pass and the optimizer, which costs about half a millisecond a step. Others cost some
    milliseconds an epoch.

    Raises:
        UserError: for something that is no callback.
    """
    for callback in callbacks:
        if not isinstance(callback, pl.Callback):
            raise UserError(f"callbacks must be Lightning callbacks, not {callback!r}")
    if any(_has(callback, hook) for callback in callbacks for hook in _OF_STEPS):
        return "steps"
    return "epochs" if callbacks else None


def _has(callback: pl.Callback, hook: str) -> bool:
    """Whether a callback overrides a hook, in its class or, as LambdaCallback does, in itself."""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(pl.Callback, hook)
