"""Optimizers with adaptive learning rates."""

from __future__ import annotations

from torch.optim import Adadelta, Adagrad, Adam, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.optimizer import ParamsT

from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import BelowOne, NonNegative, Positive


@OPTIMIZERS.register("adagrad", source="Duchi, Hazan and Singer 2011, figure 1, with diagonal matrices")
def adagrad(
    params: ParamsT, *, lr: Positive = 0.01, eps: Positive = 1e-10, weight_decay: NonNegative = 0.0
) -> Optimizer:
    """s += g^2; w -= lr * g / (sqrt(s) + eps): the rates only decrease. Weight decay is added to the gradient."""
    return Adagrad(params, lr=lr, eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.register("adadelta", source="arXiv:1212.5701, algorithm 1")
def adadelta(
    params: ParamsT,
    *,
    lr: Positive = 1.0,
    rho: BelowOne = 0.95,
    eps: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """d = sqrt(u + eps) / sqrt(s + eps) * g; w -= lr * d, with running means s of g^2 and u of d^2 (the paper: lr 1).

    Weight decay is added to the gradient.
    """
    return Adadelta(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.register("rmsprop", source="Tieleman and Hinton 2012, lecture 6e; momentum arXiv:1801.04381, section 6.1")
def rmsprop(
    params: ParamsT,
    *,
    lr: Positive = 1e-3,
    rho: BelowOne = 0.9,
    eps: Positive = 1e-8,
    momentum: BelowOne = 0.0,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """s = rho * s + (1 - rho) * g^2; w -= lr * g / (sqrt(s) + eps), optionally with momentum.

    Weight decay is added to the gradient.
    """
    return RMSprop(params, lr=lr, alpha=rho, eps=eps, momentum=momentum, weight_decay=weight_decay)


@OPTIMIZERS.register("adam", source="arXiv:1412.6980, algorithm 1")
def adam(
    params: ParamsT,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """w -= lr * m / (sqrt(v) + eps), with running means m of g and v of g^2, each divided by 1 - beta^t.

    Weight decay is added to the gradient.
    """
    return Adam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("adamw", source="arXiv:1711.05101, algorithm 2", decoupled=True)
def adamw(
    params: ParamsT,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
) -> Optimizer:
    """w -= lr * (m / (sqrt(v) + eps) + weight_decay * w): Adam with decoupled weight decay."""
    return AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("nadam", source="Dozat 2016, algorithm 2")
def nadam(
    params: ParamsT,
    *,
    lr: Positive = 2e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """w -= lr * (mu' * m + (1 - mu) * g) / (sqrt(v) + eps), bias-corrected: Adam with Nesterov's look-ahead.

    mu = beta1 (1 - 0.96^(0.004 t) / 2) rises from beta1 / 2 towards beta1, and mu' is that of the next step. Weight
    decay is added to the gradient.
    """
    return NAdam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


@OPTIMIZERS.register("radam", source="arXiv:1908.03265, algorithm 2")
def radam(
    params: ParamsT,
    *,
    lr: Positive = 1e-3,
    beta1: BelowOne = 0.9,
    beta2: BelowOne = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """w -= lr * r_t * m / (sqrt(v) + eps): Adam that is plain momentum until the variance of v is finite.

    Weight decay is added to the gradient.
    """
    return RAdam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
