"""The blocks of residual networks: two convolutions, or a bottleneck, and a shortcut."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts

ShortcutKind = Literal["A", "B", "C", "none"]
Downsample = Literal["conv", "pool"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left): (N, in, H, W) -> (N, width, H/stride, W/stride).

    `depth` is the block's place in the network, for stochastic depth. downsample="pool" lets a pooling do
    what the stride of a convolution does.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        parts: Parts,
        *,
        shortcut: ShortcutKind = "B",
        depth: float = 1.0,
        downsample: Downsample = "conv",
    ) -> None:
        super().__init__()
        self.out_channels = width
        pooled = downsample == "pool" and stride > 1
        self.conv1 = ConvNormAct(in_channels, width, 3, parts, stride=1 if pooled else stride, drop=True)
        self.shrink = parts.pool(width, stride, stride=stride, ceil_mode=True) if pooled else nn.Identity()
        self.conv2 = ConvNormAct(width, width, 3, parts, act=False)
        self.attention = parts.attention(width)
        self.branch_drop = parts.branch_drop(depth)
        self.shortcut = make_shortcut(shortcut, in_channels, width, stride, parts)
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv2(self.shrink(self.conv1(x)))
        return self.act(self.branch_drop(self.attention(branch)) + self.shortcut(x))

    def zero_residual_(self) -> None:
        self.conv2.zero_norm_()


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand and a shortcut (figure 5, right); the stride is in the 3x3, as in torchvision.

    (N, in, H, W) -> (N, 4 * width, H/stride, W/stride); `inner` channels and `groups` of the 3x3 make it ResNeXt's.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        parts: Parts,
        *,
        inner: int | None = None,
        groups: int = 1,
        shortcut: ShortcutKind = "B",
        depth: float = 1.0,
        downsample: Downsample = "conv",
    ) -> None:
        super().__init__()
        inner = width if inner is None else inner
        self.out_channels = out_channels = 4 * width
        pooled = downsample == "pool" and stride > 1
        self.conv1 = ConvNormAct(in_channels, inner, 1, parts)
        self.conv2 = ConvNormAct(inner, inner, 3, parts, stride=1 if pooled else stride, groups=groups, drop=True)
        self.shrink = parts.pool(inner, stride, stride=stride, ceil_mode=True) if pooled else nn.Identity()
        self.conv3 = ConvNormAct(inner, out_channels, 1, parts, act=False)
        self.attention = parts.attention(out_channels)
        self.branch_drop = parts.branch_drop(depth)
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride, parts)
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv3(self.shrink(self.conv2(self.conv1(x))))
        return self.act(self.branch_drop(self.attention(branch)) + self.shortcut(x))

    def zero_residual_(self) -> None:
        self.conv3.zero_norm_()


class PadShortcut(nn.Module):
    """Option A (section 3.3): subsample and append channels of zeros; no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.extra = (stride, stride), out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        down, across = self.stride
        return F.pad(x[:, :, ::down, ::across], (0, 0, 0, 0, 0, self.extra))


class NoShortcut(nn.Module):
    """The plain net (section 3.3): the block's output is its branch alone."""

    def forward(self, x: Tensor) -> float:
        return 0.0


def make_shortcut(kind: ShortcutKind, in_channels: int, out_channels: int, stride: int, parts: Parts) -> nn.Module:
    """Return the identity where the shape stays, else option A (padding) or B (a 1x1 projection).

    Option C projects everywhere (table 3); "none" is a plain net.
    """
    if kind == "none":
        return NoShortcut()
    if stride == 1 and in_channels == out_channels and kind != "C":
        return nn.Identity()
    if kind == "A":
        return PadShortcut(in_channels, out_channels, stride)
    return ConvNormAct(in_channels, out_channels, 1, parts, stride=stride, act=False)
