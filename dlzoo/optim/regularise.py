"""What is done to weights beside the optimizer's own step: soft-thresholding, and the other kind of weight decay."""

# pyright: reportPrivateImportUsage=false
# torch counts its foreach functions, one kernel for many tensors, as private.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Regulariser:
    """L1 and weight decay, around each step of any optimizer. It keeps nothing from one step to the next.

    Args:
        l1: weights of two and more dimensions are soft-thresholded by lr * l1 after each step.
        decoupled: True takes lr * weight_decay * w from the weights, False adds weight_decay * w to the gradient; None
            leaves weight decay to the optimizer.
    """

    def __init__(self, l1: float, decoupled: bool | None) -> None:
        self._l1, self._decoupled = l1, decoupled
        self._shares: list[tuple[list[Tensor], Any]] = []

    def claim(self, optimizer: Optimizer) -> None:
        """Work on `optimizer`, and take its weight decay over; before any state is loaded into it."""
        self._optimizer = optimizer
        if self._decoupled is not None:
            self._decays = [group["weight_decay"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["weight_decay"] = 0.0

    @torch.no_grad()
    def before_step(self) -> None:
        """When the gradients are there; each time, where an optimizer asks for them more than once a step."""
        if self._decoupled is None or self._shares:
            return
        for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
            params = group["params"]
            if self._decoupled and decay:
                # Taken from the weights afterwards: what a closure evaluates in between has to be as it was.
                self._shares.append((params, torch._foreach_mul(params, group["lr"] * decay)))
            elif decay and (params := [parameter for parameter in params if parameter.grad is not None]):
                torch._foreach_add_([parameter.grad for parameter in params], params, alpha=decay)

    @torch.no_grad()
    def after_step(self) -> None:
        """When the optimizer has moved the weights."""
        for params, shares in self._shares:
            torch._foreach_sub_(params, shares)
        self._shares = []
        if self._l1:
            for group in self._optimizer.param_groups:
                if weights := [parameter for parameter in group["params"] if parameter.dim() >= 2]:
                    soft_threshold(weights, group["lr"] * self._l1)


def soft_threshold(weights: list[Tensor], threshold: float) -> None:
    """sign(w) * max(|w| - threshold, 0), in place: the proximal map of threshold * |w|_1."""
    nearest = torch._foreach_clamp_min(weights, -threshold)
    torch._foreach_clamp_max_(nearest, threshold)
    torch._foreach_sub_(weights, nearest)
