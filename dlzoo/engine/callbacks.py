"""Which of a user's Lightning callbacks need to be called for every step."""

from __future__ import annotations

from collections.abc import Sequence

from pytorch_lightning import Callback

from dlzoo.core.errors import UserError
from dlzoo.core.overriding import overrides
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


def observed_by(callbacks: Sequence[Callback]) -> Observed | None:
    """Return "steps" if a callback overrides a hook of steps, "epochs" if there are other callbacks, else None.

    With a hook that Lightning calls for each step, training runs in ranges of one step and through Lightning's
    wrappers of the backward pass and the optimizer, which costs about half a millisecond per step. Other callbacks
    cost a few milliseconds per epoch.

    Raises:
        UserError: for an object that is not a Lightning callback.
    """
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise UserError(f"callbacks must be Lightning callbacks, not {callback!r}")
    if any(overrides(callback, Callback, hook) for callback in callbacks for hook in _OF_STEPS):
        return "steps"
    return "epochs" if callbacks else None
