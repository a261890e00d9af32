"""Sharpness-aware minimisation."""

# pyright: reportPrivateImportUsage=false
# torch's foreach functions (one kernel for many tensors) are private names.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import BelowOne, NonNegative, Positive


@OPTIMIZERS.register("sam", source="arXiv:2010.01412, algorithm 1 and equation 2 with p = 2", uses_closure=True)
class Sam(Optimizer):
    """g = gradient at w + rho * g0 / |g0|, where g0 is the gradient at w; then a step of momentum at w with g.

    Each step has two forward and backward passes. Weight decay is added to g, not to g0: in the paper's objective it is
    outside the maximum. With rho 0 it is optimizer=momentum at twice the cost.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: Positive = 0.1,
        rho: NonNegative = 0.05,
        momentum: BelowOne = 0.9,
        weight_decay: NonNegative = 5e-4,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # pyright: ignore
        """Make one step and return the loss before it; `closure` computes the gradients and returns the loss."""
        with torch.enable_grad():
            loss = closure()
        self._ascend(closure)
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if params:
                self._descend(params, group)
        return loss

    def _ascend(self, closure: Callable[[], Tensor]) -> None:
        """Compute the gradients at w + rho * g0 / |g0|, and restore the weights w."""
        groups = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.param_groups]
        params = [parameter for _, some in groups for parameter in some]
        if not params:
            return
        norm = get_total_norm([parameter.grad for parameter in params], foreach=True).clamp(min=1e-12)
        before = torch._foreach_mul(params, 1.0)  # copies, because w + e - e differs from w by rounding
        for group, some in groups:
            if some:
                torch._foreach_add_(some, torch._foreach_mul([p.grad for p in some], group["rho"] / norm))
        with torch.enable_grad():
            closure()
        torch._foreach_copy_(params, before)

    def _descend(self, params: list[Tensor], group: dict[str, Any]) -> None:
        gradients: Any = [parameter.grad for parameter in params]
        for parameter in params:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in params]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        torch._foreach_add_(momenta, params, alpha=group["weight_decay"])
        torch._foreach_add_(params, momenta, alpha=-group["lr"])
