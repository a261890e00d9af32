"""Gradient descent, without momentum and with two kinds of it."""

from __future__ import annotations

from torch.optim import SGD, Optimizer
from torch.optim.optimizer import ParamsT

from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import BelowOne, NonNegative, Positive


@OPTIMIZERS.register("sgd", source="Robbins and Monro 1951")
def sgd(params: ParamsT, *, lr: Positive = 0.1, weight_decay: NonNegative = 5e-4) -> Optimizer:
    """w -= lr * g: gradient descent; g is the gradient + weight_decay * w.

    With data.batch_size=full it is batch gradient descent, with a batch size of 1 stochastic gradient descent, and
    otherwise mini-batch gradient descent.
    """
    return SGD(params, lr=lr, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("momentum", source="Polyak 1964; as in Sutskever et al. 2013, equations 1 and 2")
def momentum(
    params: ParamsT, *, lr: Positive = 0.1, momentum: BelowOne = 0.9, weight_decay: NonNegative = 5e-4
) -> Optimizer:
    """v = momentum * v + g; w -= lr * v: the heavy ball; g is the gradient + weight_decay * w."""
    return SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("nesterov", source="Nesterov 1983; as in Sutskever et al. 2013, equations 3 and 4")
def nesterov(
    params: ParamsT, *, lr: Positive = 0.1, momentum: BelowOne = 0.9, weight_decay: NonNegative = 5e-4
) -> Optimizer:
    """v = momentum * v + g; w -= lr * (g + momentum * v): the gradient is evaluated at the look-ahead point.

    The stored weights are those of the look-ahead point. g is the gradient + weight_decay * w.

    Raises:
        UserError: for momentum 0, which has no look-ahead point.
    """
    if momentum == 0:
        raise UserError("optimizer=nesterov needs optimizer.momentum > 0; without momentum it is optimizer=sgd")
    return SGD(params, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay, fused=True)
