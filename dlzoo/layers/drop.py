"""Dropout and its variants: noise in training, the identity in evaluation. Modules of any shape to the same shape.

`rate` is the fraction that is dropped. The layers draw from torch's default generator, which a run seeds at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import DROPS
from dlzoo.core.schema import Bounds, Fraction, Size

#: The fraction that is dropped; of one beyond the limit nothing is left to learn from.
Rate = Annotated[float, Bounds(minimum=0, maximum=0.99)]


@dataclass(frozen=True)
class DropSettings:
    """`place`: whether a block's dropout comes after its norm and activation, or before them (arXiv:1801.05134).

    Dropout of residual branches is always at the end of the branch.
    """

    place: Literal["after_norm", "before_norm"] = "after_norm"


def depths_of(repeats: Sequence[int]) -> list[list[float]]:
    """Return l / L for block l of L, by stage: depths_of([1, 3]) is [[0.25], [0.5, 0.75, 1.0]]."""
    numbers, total = count(1), sum(repeats)
    return [[next(numbers) / total for _ in range(blocks)] for blocks in repeats]


@DROPS.register("none", source="no dropout")
def none() -> nn.Module:
    """No dropout in the blocks; that of fully connected heads is head.drop_rate or model.drop_rate"""
    return nn.Identity()


@DROPS.register("dropout", source="Srivastava et al. 2014, section 4")
class Dropout(nn.Module):
    """Set each value to zero with probability `rate`.

    `scaling`: "train" divides the kept values by 1 - rate in training, "test" multiplies by 1 - rate in evaluation, as
    in the paper's section 4; the expectations are equal.
    """

    def __init__(self, *, rate: Rate = 0.1, scaling: Literal["train", "test"] = "train") -> None:
        super().__init__()
        self.rate, self.scaling = rate, scaling

    def forward(self, x: Tensor) -> Tensor:
        out = F.dropout(x, self.rate, self.training)  # scaled in training
        return out * (1 - self.rate) if self.scaling == "test" else out

    def extra_repr(self) -> str:
        return f"rate={self.rate}, scaling={self.scaling}"


@DROPS.register("spatial", source="arXiv:1411.4280, section 3.2", needs="maps")
class SpatialDropout(nn.Module):
    """Set each channel of each sample to zero with probability `rate`."""

    def __init__(self, *, rate: Rate = 0.1) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.rate, self.training)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


@DROPS.register("gaussian", source="Srivastava et al. 2014, section 10")
class GaussianDropout(nn.Module):
    """Multiply each value by a normal number of mean 1 and variance rate / (1 - rate), as dropout has."""

    def __init__(self, *, rate: Rate = 0.1) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        deviation = (self.rate / (1 - self.rate)) ** 0.5
        return x * torch.empty_like(x).normal_(1, deviation)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


@DROPS.register("uniform", source="arXiv:1801.05134, section 5.2 (Uout)")
class UniformDropout(nn.Module):
    """Multiply each value by 1 + r, r uniform in [-beta, beta]: the variance shift is only beta^2 / 3."""

    def __init__(self, *, beta: Fraction = 0.1) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty_like(x).uniform_(1 - self.beta, 1 + self.beta) if self.training else x

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


@DROPS.register("dropblock", source="arXiv:1810.12890, algorithm 1", needs="maps")
class DropBlock(nn.Module):
    """Set squares of `block_size` pixels of each feature map to zero, about `rate` of the pixels; scale up the rest.

    In smaller feature maps a square covers the full map. The rate is constant in training; the paper increases it.
    """

    def __init__(self, *, rate: Rate = 0.1, block_size: Size = 7) -> None:
        super().__init__()
        self.rate, self.block_size = rate, block_size

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        block = [min(self.block_size, side) for side in x.shape[2:]]
        free = [side - size + 1 for side, size in zip(x.shape[2:], block, strict=True)]
        # Equation 1: the probability that a square starts at a pixel, so that `rate` of the pixels are dropped.
        gamma = self.rate * x[0, 0].numel() / (block[0] * block[1] * free[0] * free[1])
        begins = torch.empty(*x.shape[:2], *free, device=x.device).uniform_() < min(gamma, 1.0)
        corners = F.pad(begins.float(), (block[1] - 1, block[1] - 1, block[0] - 1, block[0] - 1))
        # The largest value of a square is that of its columns' largest: a tenth of the time for squares of 7.
        kept = 1 - F.max_pool2d(F.max_pool2d(corners, (block[0], 1), stride=1), (1, block[1]), stride=1)
        # Over the full batch, as in the paper; a batch of which nothing is kept stays zero.
        scale = kept.numel() / kept.sum().clamp(min=1)  # in float32: half precision cannot represent such counts
        return x * (kept * scale).to(x.dtype)

    def extra_repr(self) -> str:
        return f"rate={self.rate}, block_size={self.block_size}"


@DROPS.register("stochastic_depth", source="arXiv:1603.09382, equations 4 and 5", needs="branch")
class StochasticDepth(nn.Module):
    """Set the residual branch of a sample to zero with probability `rate` * depth, and scale up the kept ones.

    `depth` is l / L at block l of L (the linear decay of equation 4); with decay=false the probability is `rate`. The
    paper drops a branch for all samples of a batch at once, this layer for each sample independently.
    """

    def __init__(self, *, depth: float, rate: Rate = 0.2, decay: bool = True) -> None:
        super().__init__()
        self.rate = rate * depth if decay else rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.empty(len(x), *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"
