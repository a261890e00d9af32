"""Initialisations. An entry fills a weight (out, in, ...) in place; `initialise` applies it to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.protocols import keeps_init
from dlzoo.core.registries import INITS
from dlzoo.core.schema import Positive

Distribution = Literal["normal", "uniform"]


@INITS.register("torch", source="torch's default: uniform, bound 1 / sqrt(fan_in)")
def leave(weight: Tensor) -> None:
    """The default of torch's layers"""


@INITS.register("he", source="arXiv:1502.01852, equations 10 and 14")
def he(
    weight: Tensor,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    distribution: Distribution = "normal",
    gain: Positive = 1.0,
) -> None:
    """Variance 2 gain^2 / fan"""
    fill = {"normal": nn.init.kaiming_normal_, "uniform": nn.init.kaiming_uniform_}[distribution]
    fill(weight, mode=mode, nonlinearity="relu").mul_(gain)


@INITS.register("glorot", source="Glorot and Bengio 2010, equation 16")
def glorot(weight: Tensor, *, distribution: Distribution = "uniform", gain: Positive = 1.0) -> None:
    """Variance 2 gain^2 / (fan_in + fan_out)"""
    fill = {"normal": nn.init.xavier_normal_, "uniform": nn.init.xavier_uniform_}[distribution]
    fill(weight, gain=gain)


@INITS.register("orthogonal", source="arXiv:1312.6120")
def orthogonal(weight: Tensor, *, gain: Positive = 1.0) -> None:
    """Orthogonal rows or columns, times gain"""
    nn.init.orthogonal_(weight, gain=gain)


@INITS.register("normal", source="LeCun et al. 1998, equation 16")
def normal(weight: Tensor, *, gain: Positive = 1.0) -> None:
    """Normal, variance gain^2 / fan_in"""
    nn.init.kaiming_normal_(weight, nonlinearity="linear").mul_(gain)


@INITS.register("uniform", source="LeCun et al. 1998, equation 16")
def uniform(weight: Tensor, *, gain: Positive = 1.0) -> None:
    """Uniform, variance gain^2 / fan_in"""
    nn.init.kaiming_uniform_(weight, nonlinearity="linear").mul_(gain)


@runtime_checkable
class Residual(Protocol):
    """A block that can initialise its residual branch to zero."""

    def zero_residual_(self) -> None: ...


@runtime_checkable
class FillsItself(Protocol):
    """A layer whose weight is not (out, in, ...), and which initialises it itself."""

    def fill_(self, init: Callable[[Tensor], None]) -> None: ...


@dataclass(frozen=True)
class InitSettings:
    """`zero_last_norm`: initialise residual branches to zero (arXiv:1706.02677, section 5.1)."""

    zero_last_norm: bool = False


def initialise(
    network: nn.Module, init: Callable[[Tensor], None], settings: InitSettings, keep: nn.Module | None = None
) -> None:
    """Fill every weight of two or more dimensions with `init`, and set the biases of the same layers to zero.

    A `head` keeps torch's initialisation, as in torchvision's models: no activation follows it, and large initial
    logits make the first steps diverge. So do a module with `keeps_init`, the module `keep`, and their children.
    `init=torch` changes nothing.

    Raises:
        UserError: if zero_last_norm is set and the network has no residual branches.
    """
    if getattr(init, "func", init) is not leave:
        kept = {
            part
            for name, module in network.named_modules()
            if name.rpartition(".")[2] == "head" or keeps_init(module) or module is keep
            for part in module.modules()
        }
        # A class is checked once: a check of a protocol takes longer than filling a small weight.
        filling = {kind for kind in {type(module) for module in network.modules()} if issubclass(kind, FillsItself)}
        for module in network.modules():
            if module in kept:
                continue
            weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
            if type(module) in filling:
                cast(FillsItself, module).fill_(init)
            elif isinstance(weight, nn.Parameter) and weight.dim() >= 2:
                init(weight.data)
                if isinstance(bias, nn.Parameter):
                    nn.init.zeros_(bias)
    if settings.zero_last_norm:
        blocks = [module for module in network.modules() if isinstance(module, Residual)]
        if not blocks:
            raise UserError(
                "init.zero_last_norm=true needs residual branches that end with a norm, and the model has none;"
                " set init.zero_last_norm=false"
            )
        for block in blocks:
            block.zero_residual_()
