"""Lion: updates by the sign of a momentum."""

# pyright: reportPrivateImportUsage=false
# torch's foreach functions (one kernel for many tensors) are private names.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import BelowOne, NonNegative, Positive


@OPTIMIZERS.register("lion", source="arXiv:2302.06675, algorithm 2", decoupled=True)
class Lion(Optimizer):
    """w -= lr * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * w); m = beta2 * m + (1 - beta2) * g.

    Every weight moves by `lr`, so the paper (section 5) uses 1/3 to 1/10 of AdamW's rate, and 3 to 10 times its weight
    decay.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: Positive = 1e-4,
        beta1: BelowOne = 0.9,
        beta2: BelowOne = 0.99,
        weight_decay: NonNegative = 0.1,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": (beta1, beta2), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # pyright: ignore
        """Make one step, after evaluating `closure` if given, and return its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [parameter for parameter in group["params"] if parameter.grad is not None]
            if params:
                self._move(params, group)
        return loss

    def _move(self, params: list[Tensor], group: dict[str, Any]) -> None:
        gradients: Any = [parameter.grad for parameter in params]
        beta1, beta2 = group["betas"]
        for parameter in params:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in params]
        update = torch._foreach_lerp(gradients, momenta, beta1)
        torch._foreach_sign_(update)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, update, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1 - beta2)
