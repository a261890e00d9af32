"""Loss scaling: keeps small gradients from becoming zero in fp16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: A smaller scale than this means that the gradients are not finite at any scale, as in fairseq's DynamicLossScaler.
_COLLAPSED = 1e-4


class LossScale:
    """Dynamic scale of the loss of a training in fp16, with the rules and defaults of torch.amp.GradScaler.

    The loss is multiplied by the scale before the backward pass (arXiv:1710.03740, section 3.2), and the gradients are
    divided by it before anything else uses them. A step with a gradient that is not finite is skipped, and the scale is
    halved; after 2,000 steps in sequence that were not skipped, it is doubled. The host waits for the device once per
    step, to know whether to skip it. With several ranks, the sum of their gradients is finite on all or on none.

    Args:
        device: type of the device of the weights: "cuda" or "cpu".

    Attributes:
        skipped: number of steps that were skipped.
    """

    def __init__(self, device: str) -> None:
        self._scaler = torch.amp.GradScaler(device)
        self.skipped = 0

    def multiply(self, loss: Tensor) -> Tensor:
        """Return the loss to differentiate."""
        return self._scaler.scale(loss)

    def begin_step(self, optimizer: Optimizer, take_step: Callable[[], Any]) -> None:
        """Divide the gradients by the scale, after the last backward pass of a step.

        Args:
            optimizer: of the gradients.
            take_step: the step of `optimizer`.
        """
        self._step: Any = _Step(optimizer.param_groups, take_step)
        self._scaler.unscale_(self._step)

    def end_step(self) -> bool:
        """Take the step that was begun, unless a gradient is not finite; return whether it was taken."""
        self._scaler.step(self._step)
        self._scaler.update()
        self.skipped += not self._step.taken
        return self._step.taken

    def has_collapsed(self) -> bool:
        """Return whether gradients are not finite however small the scale is. Waits for the device."""
        return self._scaler.get_scale() < _COLLAPSED

    def values(self) -> dict[str, float]:
        """Return what is logged: the scale, and the number of skipped steps so far."""
        return {"loss_scale": self._scaler.get_scale(), "skipped_steps": self.skipped}

    def state_dict(self) -> dict[str, Any]:
        """Return plain values: the scale, the steps since it last changed, and the number of skipped steps."""
        return self._scaler.state_dict() | {"skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.skipped = state["skipped"]
        self._scaler.load_state_dict({key: value for key, value in state.items() if key != "skipped"})


@dataclass
class _Step:
    """What GradScaler uses of an optimizer, for a step that may go through Lightning's wrapper of it.

    GradScaler leaves it to fused optimizers to skip a step. After a skipped first step, torch's SGD then has
    uninitialised momentum (torch 2.14). Here it is GradScaler that skips.
    """

    param_groups: list[dict[str, Any]]
    take: Callable[[], Any]
    taken: bool = False

    def step(self) -> None:
        self.take()
        self.taken = True
