"""Regularisation around an optimizer's step: soft-thresholding, and decoupled or coupled weight decay."""

# pyright: reportPrivateImportUsage=false
# torch's foreach functions (one kernel for many tensors) are private names.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Regulariser:
    """L1 and weight decay, applied around each step of any optimizer, without state between steps.

    Args:
        l1: weights of two and more dimensions are soft-thresholded by lr * l1 after each step.
        decoupled: True subtracts lr * weight_decay * w from the weights, False adds weight_decay * w to the gradient;
            None leaves weight decay to the optimizer.
    """

    def __init__(self, l1: float, decoupled: bool | None) -> None:
        self._l1, self._decoupled = l1, decoupled
        self._shares: list[tuple[list[Tensor], Any]] = []

    def claim(self, optimizer: Optimizer) -> None:
        """Attach to `optimizer` and take over its weight decay. Call it before a state is loaded into the optimizer."""
        self._optimizer = optimizer
        if self._decoupled is not None:
            self._decays = [group["weight_decay"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["weight_decay"] = 0.0

    @torch.no_grad()
    def before_step(self) -> None:
        """Apply weight decay to the gradients; call it after every backward pass of a step."""
        if self._decoupled is None or self._shares:
            return
        for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
            params = group["params"]
            if self._decoupled and decay:
                # Subtracted after the step, so that a closure evaluates the weights unchanged.
                self._shares.append((params, torch._foreach_mul(params, group["lr"] * decay)))
            elif decay and (params := [parameter for parameter in params if parameter.grad is not None]):
                torch._foreach_add_([parameter.grad for parameter in params], params, alpha=decay)

    @torch.no_grad()
    def after_step(self, *, skipped: bool = False) -> None:
        """Apply decoupled weight decay and soft-thresholding, unless the step was skipped; call it after each step."""
        shares, self._shares = self._shares, []
        if skipped:
            return
        for params, subtracted in shares:
            torch._foreach_sub_(params, subtracted)
        if self._l1:
            for group in self._optimizer.param_groups:
                if weights := [parameter for parameter in group["params"] if parameter.dim() >= 2]:
                    soft_threshold(weights, group["lr"] * self._l1)


def soft_threshold(weights: list[Tensor], threshold: float) -> None:
    """Compute sign(w) * max(|w| - threshold, 0) in place, the proximal map of threshold * |w|_1."""
    nearest = torch._foreach_clamp_min(weights, -threshold)
    torch._foreach_clamp_max_(nearest, threshold)
    torch._foreach_sub_(weights, nearest)
