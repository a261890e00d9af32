"""A user's own Lightning callbacks: which of them have to see every step."""

from __future__ import annotations

import pytorch_lightning as pl

#: The hooks that Lightning calls for each batch, backward pass or optimizer step.
_OF_STEPS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)


def follows_steps(callback: pl.Callback) -> bool:
    """Whether a callback has a hook that Lightning would call for each step.

    The training then runs in ranges of one step and through Lightning's wrappers of the backward pass and the
    optimizer, which costs about a millisecond a step; other callbacks cost nothing.
    """
    return any(getattr(type(callback), name) is not getattr(pl.Callback, name) for name in _OF_STEPS)
