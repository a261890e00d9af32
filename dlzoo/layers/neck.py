"""Necks: modules that fuse feature maps of several sizes for a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import NECKS
from dlzoo.core.schema import Depth, Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import SpatialPyramid


@dataclass(frozen=True)
class NeckSettings:
    """Fusion of feature maps.

    `merge`: add two feature maps, or concatenate them (concat). `width`: channels of every output; null is half of
    those of the input. `depth`: convolutions after each merge. `spp`: spatial pyramid pooling of the coarsest feature
    map first, with windows of 1, 5, 9 and 13 pixels (arXiv:2004.10934, section 3.4).
    """

    merge: Literal["add", "concat"] = "add"
    width: Size | None = 256
    depth: Depth = 1
    spp: bool = False

    def widths(self, channels: Sequence[int]) -> list[int]:
        """Return the channels of the outputs, for inputs with `channels`."""
        return [max(before // 2, 1) if self.width is None else self.width for before in channels]

    def merged(self, width: int, count: int) -> int:
        """Return the channels of `count` merged feature maps, each with `width` channels."""
        return width if self.merge == "add" else count * width


#: (in_channels, out_channels, kernel_size, parts) -> a convolution block of a neck.
Conv = Callable[[int, int, int, Parts], nn.Module]


def conv_norm_act(in_channels: int, out_channels: int, kernel_size: int, parts: Parts) -> nn.Module:
    """Return convolution, norm and activation, with the chosen dropout for kernels larger than 1x1."""
    return ConvNormAct(in_channels, out_channels, kernel_size, parts, drop=kernel_size > 1)


def conv_set(
    in_channels: int, out_channels: int, settings: NeckSettings, parts: Parts, conv: Conv = conv_norm_act
) -> nn.Module:
    """Return the layers after a merge: `settings.depth` convolutions and the chosen attention.

    A single one is 3x3 (arXiv:1612.03144, section 3); several alternate 1x1 and 3x3, where inner 3x3 ones have
    twice the channels (arXiv:1804.02767).
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
    """Return YOLOv4's SPP between 1x1 and 3x3 convolutions: (N, in_channels, H, W) -> (N, out_channels, H, W)."""
    wide = 2 * out_channels
    layers: list[nn.Module] = []
    for before in (in_channels, 4 * out_channels):
        layers += [conv(before, out_channels, 1, parts), conv(out_channels, wide, 3, parts)]
        layers.append(conv(wide, out_channels, 1, parts))
    return nn.Sequential(*layers[:3], SpatialPyramid(), *layers[3:])


def merge(settings: NeckSettings, *features: Tensor) -> Tensor:
    """Merge feature maps of equal size: their sum, or their concatenation."""
    return sum(features[1:], features[0]) if settings.merge == "add" else torch.cat(features, dim=1)


class UpsampleLike(nn.Module):
    """Upsample by 2 and crop to the size of `like`: (N, in_channels, H, W) -> (N, out_channels, 2 H or 2 H - 1, ...).

    If the channels differ, a 1x1 convolution comes first (arXiv:1804.02767).
    """

    def __init__(self, in_channels: int, out_channels: int, parts: Parts, conv: Conv = conv_norm_act) -> None:
        super().__init__()
        self.reduce = nn.Identity() if in_channels == out_channels else conv(in_channels, out_channels, 1, parts)
        self.upsample = parts.upsample(out_channels, 2)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return self.upsample(self.reduce(x))[:, :, : like.shape[2], : like.shape[3]]


@NECKS.register("none", source="arXiv:1512.02325, figure 2: no fusion")
class NoNeck(nn.Module):
    """The identity

    neck.merge, width and depth are ignored.

    Raises:
        UserError: for neck.spp=true; neck=spp is the neck for it.
    """

    def __init__(self, *, channels: tuple[int, ...], settings: NeckSettings) -> None:
        super().__init__()
        if settings.spp:
            raise UserError("neck=none does not support neck.spp=true; set neck=spp instead")
        self.out_channels = list(channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return features


@NECKS.register("spp", source="arXiv:2004.10934, section 3.4")
class PyramidNeck(nn.Module):
    """conv1x1([x, max5(x), max9(x), max13(x)]) of the coarsest feature map; the others are unchanged

    neck.merge, width and depth are ignored.
    """

    def __init__(self, *, channels: tuple[int, ...], parts: Parts) -> None:
        super().__init__()
        self.out_channels = list(channels)
        self.pyramid = SpatialPyramid()
        self.reduce = ConvNormAct(4 * channels[-1], channels[-1], 1, parts)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [*features[:-1], self.reduce(self.pyramid(features[-1]))]
