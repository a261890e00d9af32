"""Newton's method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import NonNegative, Positive

#: Maximal number of weights; their Hessian takes 512 MB.
_LARGEST = 8_000
#: Rows of the Hessian computed at once.
_ROWS = 64
#: Backtracking line search: Boyd and Vandenberghe's alpha and beta, and the maximal number of trials.
_DECREASE, _SHORTEN, _TRIALS = 0.1, 0.5, 60


@OPTIMIZERS.register(
    "newton",
    source="Boyd and Vandenberghe 2004, algorithms 9.5 and 9.2; damping Levenberg 1944",
    **{"uses_closure": True, "clips": False, "full_batch": True, "linear": True},
)
class Newton(Optimizer):
    """w -= t * (H + damping * I)^-1 g, with the full Hessian H, and t halved from lr until the loss falls enough.

    The damping starts at the rounding error of H and grows until H + damping * I is positive definite. For losses
    without noise: each step uses the full data set (data.batch_size=full). The objective includes
    weight_decay / 2 * |w|^2.

    Raises:
        UserError: for more than 8,000 weights.
    """

    def __init__(self, params: ParamsT, *, lr: Positive = 1.0, weight_decay: NonNegative = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        size = sum(parameter.numel() for group in self.param_groups for parameter in group["params"])
        if size > _LARGEST:
            raise UserError(
                f"optimizer=newton supports at most {_LARGEST:,} weights, and the model has {size:,};"
                " optimizer=lbfgs supports any number"
            )

    @torch.no_grad()
    def step(self, closure: Callable[..., Tensor]) -> Tensor:  # pyright: ignore
        """Make one step; return the loss `closure(create_graph=True)` before it, without weight decay."""
        params = [parameter for group in self.param_groups for parameter in group["params"]]
        decay, rates = self._each("weight_decay"), self._each("lr")
        loss, gradient, hessian = _derivatives(closure, params)
        start = torch.cat([parameter.flatten() for parameter in params]).double()
        gradient += decay * start
        hessian.diagonal().add_(decay)
        # Scaled by sqrt(rates) from both sides: still a descent direction if rates differ.
        roots = rates.sqrt()
        direction = -roots * _solve(hessian, roots * gradient, torch.finfo(loss.dtype).eps)

        def penalty(weights: Tensor) -> Tensor:
            return (decay * weights.square()).sum() / 2

        value, slope = loss.double() + penalty(start), gradient @ direction
        # Tolerance for rounding of the loss, without which the last steps before the optimum would be rejected.
        value += 4 * torch.finfo(loss.dtype).eps * value.abs()
        length = 1.0
        for _ in range(_TRIALS):
            weights = start + length * direction
            _write(params, weights)
            if closure(create_graph=True).double() + penalty(weights) <= value + _DECREASE * length * slope:
                return loss
            length *= _SHORTEN
        _write(params, start)
        return loss

    def _each(self, key: str) -> Tensor:
        """Return the value of `key` for each weight: (n,) float64."""
        pairs = ((group[key], parameter) for group in self.param_groups for parameter in group["params"])
        return torch.cat(
            [torch.full_like(parameter, value, dtype=torch.float64).flatten() for value, parameter in pairs]
        )


def _derivatives(closure: Callable[..., Tensor], params: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (loss, gradient (n,), Hessian (n, n)), the derivatives in float64."""
    with torch.enable_grad():
        loss = closure(create_graph=True)
        slopes = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
        gradient = torch.cat([slope.flatten() for slope in slopes])
    size = len(gradient)
    hessian = gradient.new_zeros(size, size, dtype=torch.float64)
    if gradient.requires_grad:  # else the loss is piecewise linear
        for first in range(0, size, _ROWS):
            rows = hessian[first : first + _ROWS]
            units = gradient.new_zeros(len(rows), size)
            units.diagonal(first).fill_(1)
            parts = torch.autograd.grad(
                gradient, params, units, retain_graph=True, is_grads_batched=True, allow_unused=True
            )
            pairs = zip(rows.split([parameter.numel() for parameter in params], 1), parts, strict=True)
            for columns, part in pairs:
                if part is not None:
                    columns.copy_(part.flatten(1))
    return loss.detach(), gradient.detach().double(), (hessian + hessian.T) / 2


def _solve(hessian: Tensor, right: Tensor, rounding: float) -> Tensor:
    """Return (hessian + damping)^-1 right, with damping raised until positive definite; nan if it never is."""
    diagonal = hessian.diagonal().clone()
    scale = diagonal.abs().max()
    damping = 10 * rounding * torch.where(scale > 0, scale, 1)
    while damping.isfinite():
        hessian.diagonal().copy_(diagonal + damping)
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not failed:
            return torch.cholesky_solve(right[:, None], factor)[:, 0]
        damping *= 10
    return torch.full_like(right, torch.nan)


def _write(params: list[Any], weights: Tensor) -> None:
    for parameter, values in zip(params, weights.split([parameter.numel() for parameter in params]), strict=True):
        parameter.copy_(values.view(parameter.shape))
