"""Optimizers. An entry waits for `params` and returns a torch Optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, NAdam, Optimizer, RAdam

from dlzoo.errors import UserError
from dlzoo.knobs import BelowOne, Fraction, NonNegative, Positive
from dlzoo.registry import OPTIMIZERS

Params = Iterable[torch.Tensor] | list[dict[str, Any]]


@OPTIMIZERS.register("sgd", source="Robbins and Monro 1951; momentum Polyak 1964; Nesterov via Sutskever et al. 2013")
def sgd(
    params: Params,
    *,
    lr: Positive = 0.1,
    momentum: Fraction = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 5e-4,
) -> Optimizer:
    """Stochastic gradient descent with momentum. Weight decay is added to the gradient."""
    if nesterov and momentum == 0:
        raise UserError("optimizer.nesterov=true needs optimizer.momentum > 0")
    return SGD(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("adam", source="arXiv:1412.6980, algorithm 1")
def adam(
    params: Params,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Adaptive moments. Weight decay is added to the gradient."""
    return Adam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("adamw", source="arXiv:1711.05101, algorithm 2")
def adamw(
    params: Params,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
) -> Optimizer:
    """Adam with weight decay apart from the gradient."""
    return AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("nadam", source="Dozat 2016, algorithm 2")
def nadam(
    params: Params,
    *,
    lr: Positive = 2e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Adam with Nesterov's look-ahead."""
    return NAdam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.register("radam", source="arXiv:1908.03265, algorithm 2")
def radam(
    params: Params,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Adam whose first steps are plain momentum until the variance can be trusted."""
    return RAdam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
