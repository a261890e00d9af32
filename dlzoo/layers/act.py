"""Activation functions: modules of any shape to the same shape."""

from __future__ import annotations

from torch import nn

from dlzoo.core.registries import ACTS
from dlzoo.core.schema import NonNegative, Positive


@ACTS.register("relu", source="Nair and Hinton 2010")
def relu() -> nn.Module:
    """max(x, 0)"""
    return nn.ReLU()


@ACTS.register("leaky_relu", source="Maas et al. 2013")
def leaky_relu(*, negative_slope: NonNegative = 0.01) -> nn.Module:
    """x where positive, negative_slope * x elsewhere"""
    return nn.LeakyReLU(negative_slope)


@ACTS.register("relu6", source="arXiv:1704.04861")
def relu6() -> nn.Module:
    """min(max(x, 0), 6)"""
    return nn.ReLU6()


@ACTS.register("sigmoid", source="the logistic function")
def sigmoid() -> nn.Module:
    """1 / (1 + exp(-x))"""
    return nn.Sigmoid()


@ACTS.register("tanh", source="the hyperbolic tangent")
def tanh() -> nn.Module:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return nn.Tanh()


@ACTS.register("mish", source="arXiv:1908.08681")
def mish() -> nn.Module:
    """x * tanh(softplus(x))"""
    return nn.Mish()


@ACTS.register("swish", source="arXiv:1710.05941, with beta = 1 (SiLU)")
def swish() -> nn.Module:
    """x * sigmoid(x)"""
    return nn.SiLU()


@ACTS.register("hard_swish", source="arXiv:1905.02244, section 5.2")
def hard_swish() -> nn.Module:
    """x * relu6(x + 3) / 6"""
    return nn.Hardswish()


@ACTS.register("gelu", source="arXiv:1606.08415")
def gelu() -> nn.Module:
    """x * Phi(x), Phi the distribution function of the standard normal distribution"""
    return nn.GELU()


@ACTS.register("elu", source="arXiv:1511.07289, equation 15")
def elu(*, alpha: Positive = 1.0) -> nn.Module:
    """x where positive, alpha * (exp(x) - 1) elsewhere"""
    return nn.ELU(alpha)


@ACTS.register("prelu", source="arXiv:1502.01852, equation 1")
def prelu(*, init: NonNegative = 0.25) -> nn.Module:
    """leaky_relu with a learnt slope, one per layer, initialised to `init`"""
    return nn.PReLU(init=init)


@ACTS.register("selu", source="arXiv:1706.02515, equation 2")
def selu() -> nn.Module:
    """1.0507 * elu(x, alpha=1.6733): keeps mean 0 and variance 1"""
    return nn.SELU()
