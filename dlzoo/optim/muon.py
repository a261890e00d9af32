"""Muon: updates by an orthogonalised momentum."""

# pyright: reportPrivateImportUsage=false
# torch's foreach functions (one kernel for many tensors) are private names.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw
from torch.optim.optimizer import ParamsT

from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import BelowOne, NonNegative, Positive

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


@OPTIMIZERS.register("muon", source="Jordan et al. 2024; scale arXiv:2502.16982, section 2.2", decoupled=True)
class Muon(Optimizer):
    """W -= lr * (0.2 * sqrt(max(rows, columns)) * U V^T + weight_decay * W), where U S V^T is the Nesterov momentum.

    This applies to weights of two or more dimensions; the kernel of a convolution is the matrix (out, in * k * k).
    U V^T is approximated by five Newton-Schulz iterations, in bfloat16 on a GPU. Its entries have the root mean square
    1 / sqrt(max(rows, columns)); the scale makes that 0.2 for every shape, about that of Adam's update, so AdamW's rate
    and weight decay suit all parameters. Biases and scales are updated by AdamW, with the rate
    lr * adamw_lr_scale and the `adamw_` settings. (The papers use AdamW for the last layer too; here Muon updates it.)
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: Positive = 1e-3,
        momentum: BelowOne = 0.95,
        weight_decay: NonNegative = 0.01,
        adamw_lr_scale: Positive = 1.0,
        adamw_beta1: BelowOne = 0.9,
        adamw_beta2: BelowOne = 0.999,
        adamw_eps: Positive = 1e-8,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay}
        matrices = {"momentum": momentum}
        # load_state_dict checks `fused`, which requires the step count to be on the device.
        others = {"betas": (adamw_beta1, adamw_beta2), "eps": adamw_eps, "fused": True}
        groups: list[dict[str, Any]] = []
        for group in _as_groups(params):
            members = list(group["params"])
            if for_muon := [parameter for parameter in members if parameter.dim() >= 2]:
                groups.append(group | matrices | {"params": for_muon})
            if for_adamw := [parameter for parameter in members if parameter.dim() < 2]:
                rate = group.get("lr", lr) * adamw_lr_scale
                groups.append(group | others | {"params": for_adamw, "lr": rate})
        super().__init__(groups, defaults)

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
                (self._muon if "momentum" in group else self._adamw)(params, group)
        return loss

    def _muon(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Update the matrices of a group."""
        gradients: list[Any] = [parameter.grad for parameter in params]
        for parameter in params:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in params]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        for same_shape in _group_by_shape(params):
            updates = _orthogonalise(torch.stack([ahead[index].flatten(1) for index in same_shape]))
            updates *= -0.2 * group["lr"] * max(updates.shape[1:]) ** 0.5
            for index, update in zip(same_shape, updates, strict=True):
                params[index].add_(update.view(params[index].shape))

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        """Update the biases and scales of a group."""
        for parameter in params:
            if not self.state[parameter]:
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                means = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                self.state[parameter] |= {"step": step} | means
        states = [self.state[parameter] for parameter in params]
        beta1, beta2 = group["betas"]
        adamw(
            params,
            [parameter.grad for parameter in params if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _as_groups(params: ParamsT) -> Iterator[dict[str, Any]]:
    groups: list[Any] = list(params)
    yield from groups if groups and isinstance(groups[0], dict) else [{"params": groups}]


def _group_by_shape(params: Iterable[Tensor]) -> Iterable[list[int]]:
    """Return the indices of matrices of equal shape, grouped so that a GPU can multiply them as one batch."""
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for index, parameter in enumerate(params):
        places[parameter.shape[0], parameter.shape[1:].numel()].append(index)
    return places.values()


def _orthogonalise(matrices: Tensor) -> Tensor:
    """Return about U V^T of each U S V^T, with singular values from 0.7 to 1.2: (N, rows, columns) -> the same."""
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
