"""Heads: last feature maps (N, channels, size, size) -> a vector (N, out_features), which a linear layer classifies."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from dlzoo.core.registries import HEADS
from dlzoo.core.schema import BelowOne, Sizes
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import SpatialPyramid


class WithAuxiliary(NamedTuple):
    """Output of a network with auxiliary classifiers in training; `weight` is the weight of each auxiliary loss."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


def is_head_key(key: str) -> bool:
    """Return whether a state-dict key belongs to a classification layer (main or auxiliary), as wide as the classes."""
    return "head" in key.split(".")


@HEADS.register("gap", source="arXiv:1312.4400, section 3.2")
class GlobalAverage(nn.Module):
    """Global average pooling: one feature per channel."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.out_features = channels
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)


@HEADS.register("fc", source="arXiv:1409.1556, table 1")
class FullyConnected(nn.Module):
    """(Linear, activation, dropout) for each width in `hidden`, on all pixels; larger inputs are averaged to `size`."""

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        parts: Parts,
        hidden: Sizes = (4096, 4096),
        drop_rate: BelowOne = 0.5,
        drop_inputs: bool = False,
    ) -> None:
        super().__init__()
        widths = [channels * size**2, *hidden]
        self.out_features = widths[-1]
        self.pool = nn.AdaptiveAvgPool2d(size)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            # torchvision's AlexNet has dropout on the input of a layer, the papers on its output.
            linear, drop = [nn.Linear(before, after), parts.act()], [nn.Dropout(drop_rate)]
            layers += drop + linear if drop_inputs else linear + drop
        self.hidden = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.pool(x).flatten(1))


@HEADS.register("spp", source="arXiv:1406.4729, section 2.2, with the windows of arXiv:2004.10934")
class PyramidAverage(nn.Module):
    """Spatial pyramid pooling, windows of 1, 5, 9 and 13 pixels, then the average: four features per channel."""

    def __init__(self, *, channels: int, sizes: Sizes = (1, 5, 9, 13)) -> None:
        super().__init__()
        self.pyramid = SpatialPyramid(sizes)
        self.out_features = channels * len(sizes)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.pyramid(x)).flatten(1)
