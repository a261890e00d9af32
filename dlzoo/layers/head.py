"""Heads: the last maps (N, channels, size, size) become a vector (N, out_features), which a linear layer classifies."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from dlzoo.core.registries import HEADS
from dlzoo.core.schema import BelowOne, PositiveInt
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import SpatialPyramid


class WithAuxiliary(NamedTuple):
    """What a network with auxiliary classifiers gives in training: their losses count `weight` each."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float


def of_head(key: str) -> bool:
    """Whether a key of a state dict is of a layer that is as wide as there are classes, auxiliary ones included."""
    return "head" in key.split(".")


@HEADS.register("gap", source="arXiv:1312.4400, section 3.2")
class GlobalAverage(nn.Module):
    """Global average pooling: a feature a channel."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.out_features = channels
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x).flatten(1)


@HEADS.register("fc", source="arXiv:1409.1556, table 1")
class FullyConnected(nn.Module):
    """All pixels, then (linear, activation, dropout) for each width in `hidden`. Larger maps are averaged to `size`."""

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        parts: Parts,
        hidden: tuple[PositiveInt, ...] = (4096, 4096),
        drop_rate: BelowOne = 0.5,
        drop_inputs: bool = False,
    ) -> None:
        super().__init__()
        widths = [channels * size**2, *hidden]
        self.out_features = widths[-1]
        self.pool = nn.AdaptiveAvgPool2d(size)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            # torchvision's AlexNet drops what a layer sees, the papers what it gives.
            linear, drop = [nn.Linear(before, after), parts.act()], [nn.Dropout(drop_rate)]
            layers += drop + linear if drop_inputs else linear + drop
        self.hidden = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.pool(x).flatten(1))


@HEADS.register("spp", source="arXiv:1406.4729, section 2.2, with the windows of arXiv:2004.10934")
class PyramidAverage(nn.Module):
    """Spatial pyramid pooling, windows of 1, 5, 9 and 13 pixels, then the average: four features a channel."""

    def __init__(self, *, channels: int, sizes: tuple[PositiveInt, ...] = (1, 5, 9, 13)) -> None:
        super().__init__()
        self.pyramid = SpatialPyramid(sizes)
        self.out_features = channels * len(sizes)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.pyramid(x)).flatten(1)
