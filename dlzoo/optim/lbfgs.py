"""Limited-memory BFGS."""

# pyright: reportPrivateImportUsage=false
# torch counts its foreach functions, one kernel for many tensors, as private.

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

    For losses without noise: the whole data set a step (data.batch_size=full), of which `iterations` make one step of
    the run. The search first tries t = lr; with line_search=none it is what is taken. weight_decay / 2 * |w|^2 is part
    of what is minimised.
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
        given: list[Any] = list(params)
        if given and isinstance(given[0], dict) and len(given) > 1:
            raise UserError(
                "optimizer=lbfgs takes all parameters alike: it needs optimizer.decay=all and optimizer.layer_decay=1"
            )
        searches = {"strong_wolfe": "strong_wolfe", "none": None}
        # torch's own limit, a quarter more evaluations than iterations, would leave a single iteration no search.
        super().__init__(
            given,
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
        """`iterations` steps; the loss before them, weight decay included.

        `closure` leaves gradients in the parameters and returns the loss.
        """
        (group,) = self.param_groups
        decay = group["weight_decay"]

        def objective() -> Tensor:
            loss = closure()
            with torch.no_grad():
                params = [parameter for parameter in group["params"] if parameter.grad is not None]
                for parameter in params:  # torch flattens gradients, and refuses those with the channels last in memory
                    parameter.grad = parameter.grad.contiguous()
                if decay and params:
                    torch._foreach_add_([parameter.grad for parameter in params], params, alpha=decay)
                    loss = loss + decay / 2 * torch.stack(torch._foreach_norm(params)).square().sum()
            return loss

        if group["lr"] == 0:  # a search that starts with no step never finds one
            with torch.enable_grad():
                return objective()
        return super().step(objective)
