"""Necks: what mixes maps of several sizes before a detector looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import NECKS
from dlzoo.core.schema import PositiveInt
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import SpatialPyramid


@dataclass(frozen=True)
class NeckSettings:
    """How maps meet.

    `merge`: two maps are added, or put side by side (concat). `width`: channels of every map that comes out; null is
    half of those that came in. `depth`: convolutions after each merge. `spp`: maxima over windows of 1, 5, 9 and 13
    pixels of the coarsest map come first (arXiv:2004.10934, section 3.4).
    """

    merge: Literal["add", "concat"] = "add"
    width: PositiveInt | None = 256
    depth: PositiveInt = 1
    spp: bool = False

    def widths(self, channels: Sequence[int]) -> list[int]:
        """Channels of the maps that come out, for `channels` that came in."""
        return [max(before // 2, 1) if self.width is None else self.width for before in channels]

    def merged(self, width: int, maps: int) -> int:
        """Channels of as many maps that have met, each `width` wide."""
        return width if self.merge == "add" else maps * width


#: (in_channels, out_channels, kernel_size, parts) -> a convolution of the kind that a neck is made of.
Conv = Callable[[int, int, int, Parts], nn.Module]


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int, parts: Parts) -> nn.Module:
    """With norm and activation; the user's noise is in those that see more than a pixel."""
    return ConvNormAct(in_channels, out_channels, kernel_size, parts, drop=kernel_size > 1)


def conv_set(
    in_channels: int, out_channels: int, settings: NeckSettings, parts: Parts, conv: Conv = conv_norm_act
) -> nn.Module:
    """What follows a merge: `settings.depth` convolutions and the user's attention.

    One is 3x3 (arXiv:1612.03144, section 3); several are 1x1 and 3x3 in turns, those of 3x3 between others twice as
    wide (arXiv:1804.02767).
    """
    layers: list[nn.Module] = []
    before, last = in_channels, settings.depth - 1
    for number in range(settings.depth):
        kernel = 1 if number % 2 == 0 and last else 3
        after = 2 * out_channels if kernel == 3 and number < last else out_channels
        layers.append(conv(before, after, kernel, parts))
        before = after
    return nn.Sequential(*layers, parts.attention(out_channels))


def pyramid_block(in_channels: int, out_channels: int, parts: Parts, conv: Conv = conv_norm_act) -> nn.Module:
    """YOLOv4's SPP between convolutions, 1x1 and 3x3 in turns: (N, in_channels, H, W) -> (N, out_channels, H, W)."""
    wide = 2 * out_channels
    layers: list[nn.Module] = []
    for before in (in_channels, 4 * out_channels):
        layers += [conv(before, out_channels, 1, parts), conv(out_channels, wide, 3, parts)]
        layers.append(conv(wide, out_channels, 1, parts))
    return nn.Sequential(*layers[:3], SpatialPyramid(), *layers[3:])


def merge(settings: NeckSettings, *maps: Tensor) -> Tensor:
    """Maps of one size as one: their sum, or side by side."""
    return sum(maps[1:], maps[0]) if settings.merge == "add" else torch.cat(maps, dim=1)


class UpsampleLike(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, as `like`), which is twice as large, or a pixel less where it is odd.

    Where the channels differ a 1x1 convolution comes first (arXiv:1804.02767).
    """

    def __init__(self, in_channels: int, out_channels: int, parts: Parts, conv: Conv = conv_norm_act) -> None:
        super().__init__()
        self.reduce = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, 1, parts)
        self.upsample = parts.upsample(out_channels, 2)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return self.upsample(self.reduce(x))[:, :, : like.shape[2], : like.shape[3]]


@NECKS.register("none", source="arXiv:1512.02325, figure 2: every map for itself")
class NoNeck(nn.Module):
    """The maps as they are

    neck.merge, width and depth have no meaning here.

    Raises:
        UserError: for neck.spp, which neck=spp is.
    """

    def __init__(self, *, channels: tuple[int, ...], settings: NeckSettings) -> None:
        super().__init__()
        if settings.spp:
            raise UserError("neck.spp=true is for necks that mix maps: choose neck=spp")
        self.out_channels = list(channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return maps


@NECKS.register("spp", source="arXiv:2004.10934, section 3.4")
class PyramidNeck(nn.Module):
    """The coarsest map becomes conv1x1([x, max5(x), max9(x), max13(x)]); the others stay as they are

    neck.merge, width and depth have no meaning here.
    """

    def __init__(self, *, channels: tuple[int, ...], parts: Parts) -> None:
        super().__init__()
        self.out_channels = list(channels)
        self.pyramid = SpatialPyramid()
        self.reduce = ConvNormAct(4 * channels[-1], channels[-1], 1, parts)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [*maps[:-1], self.reduce(self.pyramid(maps[-1]))]
