"""Limited-memory BFGS."""

# pyright: reportPrivateImportUsage=false
# torch's foreach functions (one kernel for many tensors) are private names.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import LBFGS
from torch.optim.optimizer import ParamsT

from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import NonNegative, Positive, PositiveInt


@OPTIMIZERS.register(
    "lbfgs",
    source="Liu and Nocedal 1989, algorithm 2.1; line search Nocedal and Wright 2006, algorithms 3.5 and 3.6",
    **{"uses_closure": True, "clips": False, "full_batch": True, "groups": False},
)
class Lbfgs(LBFGS):
    """w -= t * H g, where H approximates the inverse Hessian from the last `history` steps and a line search finds t.

    For losses without noise: each step uses the full data set (data.batch_size=full) and makes `iterations` iterations.
    The line search first tries t = lr; with line_search=none, t is lr. The objective includes
    weight_decay / 2 * |w|^2.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: Positive = 1.0,
        history: PositiveInt = 10,
        iterations: PositiveInt = 20,
        line_search: Literal["strong_wolfe", "none"] = "strong_wolfe",
        weight_decay: NonNegative = 0.0,
    ) -> None:
        groups: list[Any] = list(params)
        if groups and isinstance(groups[0], dict) and len(groups) > 1:
            raise UserError(
                "optimizer=lbfgs does not support parameter groups: set optimizer.decay=all and optimizer.layer_decay=1"
            )
        searches = {"strong_wolfe": "strong_wolfe", "none": None}
        # torch's default, max_iter * 1.25, would leave no evaluations for the line search of a single iteration.
        super().__init__(
            groups,
            lr=lr,
            max_iter=iterations,
            max_eval=iterations + 25,
            history_size=history,
            line_search_fn=searches[line_search],
        )
        for group in self.param_groups:
            group.setdefault("weight_decay", weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # pyright: ignore
        """Make `iterations` iterations and return the loss before them, weight decay included.

        `closure` computes the gradients of the parameters and returns the loss.
        """
        (group,) = self.param_groups
        decay = group["weight_decay"]

        def objective() -> Tensor:
            loss = closure()
            with torch.no_grad():
                params = [parameter for parameter in group["params"] if parameter.grad is not None]
                for parameter in params:  # torch flattens gradients with view, which fails for channels_last memory
                    parameter.grad = parameter.grad.contiguous()
                if decay and params:
                    torch._foreach_add_([parameter.grad for parameter in params], params, alpha=decay)
                    loss = loss + decay / 2 * torch.stack(torch._foreach_norm(params)).square().sum()
            return loss

        if group["lr"] == 0:  # a line search from a step of length 0 finds no step
            with torch.enable_grad():
                return objective()
        return super().step(objective)
