"""How an image enters a network that was designed for photographs."""

from __future__ import annotations

from typing import Literal

from torch import nn

from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Stage

Stem = Literal["auto", "small", "imagenet"]

#: At most this many pixels a side get the small stem: the other would leave CIFAR's 32 px with 8.
SMALL_IMAGE = 64


def make_stem(kind: Stem, in_channels: int, out_channels: int, image_size: int, parts: Parts) -> nn.Module:
    """Return a stem: 7x7 with stride 2 and max pooling, a quarter of the size, or for "small" 3x3, the same size."""
    if stem_stride(kind, image_size) == 1:
        return ConvNormAct(in_channels, out_channels, 3, parts, fixed=True)
    conv = ConvNormAct(in_channels, out_channels, 7, parts, stride=2, fixed=True)
    return nn.Sequential(conv, nn.MaxPool2d(3, stride=2, padding=1))


def stem_stride(kind: Stem, image_size: int) -> int:
    """Return how many pixels of an image become one, a side."""
    return 1 if is_small(kind, image_size) else 4


def stem_outputs(kind: Stem, image_size: int, channels: int) -> list[Stage]:
    """List the outputs of the child `stem` that `make_stem` or `make_light_stem` makes."""
    if is_small(kind, image_size):
        return [Stage("stem", 1, channels)]
    return [Stage("stem.0", 2, channels), Stage("stem", 4, channels)]


def is_small(kind: Stem, image_size: int) -> bool:
    """Return whether the first layers keep the size of the image."""
    return kind == "small" or (kind == "auto" and image_size <= SMALL_IMAGE)


def make_light_stem(kind: Stem, in_channels: int, out_channels: int, image_size: int, parts: Parts) -> nn.Module:
    """Return the stem of networks for phones: 3x3 with stride 2 and max pooling; small images keep their size."""
    if is_small(kind, image_size):
        return ConvNormAct(in_channels, out_channels, 3, parts, fixed=True)
    conv = ConvNormAct(in_channels, out_channels, 3, parts, stride=2, fixed=True)
    return nn.Sequential(conv, nn.MaxPool2d(3, stride=2, padding=1))
