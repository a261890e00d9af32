"""ResNet and its plain counterpart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import PositiveInt
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.drop import depths_of
from dlzoo.layers.non_local import CrossLayerNonLocal
from dlzoo.layers.parts import Parts
from dlzoo.models.stem import Stem, make_stem, stem_stride

ShortcutKind = Literal["A", "B", "C", "none"]
Downsample = Literal["conv", "pool"]
#: (in_channels, width, stride, parts, *, shortcut, depth, downsample) -> a block that knows its `out_channels`.
Block = Callable[..., Any]


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
        self.stride, self.extra = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class NoShortcut(nn.Module):
    """The plain net (section 3.3): the block's output is its branch alone."""

    def forward(self, x: Tensor) -> float:
        return 0.0


def make_shortcut(kind: ShortcutKind, in_channels: int, out_channels: int, stride: int, parts: Parts) -> nn.Module:
    """Identity where the shape stays, else option A (padding) or B (a 1x1 projection).

    Option C projects everywhere (table 3); "none" is a plain net.
    """
    if kind == "none":
        return NoShortcut()
    if stride == 1 and in_channels == out_channels and kind != "C":
        return nn.Identity()
    if kind == "A":
        return PadShortcut(in_channels, out_channels, stride)
    return ConvNormAct(in_channels, out_channels, 1, parts, stride=stride, act=False)


class ResNet(nn.Module):
    """Stem, as wide as the first of the stages of residual blocks (the width doubles, the size halves), pooling, head.

    With `cross_layer` the last stage but one looks at the last (layers.non_local.CrossLayerNonLocal), and its means are
    features too; before the attention has learnt anything, that is the mean of the shallower stage beside the deeper
    one's. `size`: pixels a side of the last maps.
    """

    def __init__(
        self,
        block: Block,
        depths: tuple[int, ...],
        *,
        stem: nn.Module,
        width: int,
        size: int,
        num_classes: int,
        parts: Parts,
        shortcut: ShortcutKind,
        downsample: Downsample,
        cross_layer: bool,
    ) -> None:
        super().__init__()
        self.stem = stem
        channels = [width]
        stages = []
        for stage, of_stage in enumerate(depths_of(depths)):
            blocks = []
            for index, depth in enumerate(of_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                settings: dict[str, Any] = {"shortcut": shortcut, "depth": depth, "downsample": downsample}
                blocks.append(block(channels[-1], width << stage, stride, parts, **settings))
                channels.append(blocks[-1].out_channels)
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        shallow, deep = channels[-1 - depths[-1]], channels[-1]
        self.cross_layer = CrossLayerNonLocal(shallow, deep) if cross_layer else None
        self.pool = parts.head(deep, size)
        self.head = nn.Linear(self.pool.out_features + (shallow if cross_layer else 0), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        shallow = x = self.stem(x)
        for stage in self.stages:
            shallow, x = x, stage(x)
        features = self.pool(x)
        if self.cross_layer is not None:
            features = torch.cat([features, self.cross_layer(shallow, x).mean((2, 3))], dim=1)
        return self.head(features)


def imagenet_resnet(
    block: Block,
    depths: tuple[int, ...],
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    stem: Stem = "auto",
    shortcut: ShortcutKind = "B",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: PositiveInt = 64,
) -> nn.Module:
    """ResNet for photographs: a 7x7 stem and four stages, the first `width` wide; small images get a small stem.

    shortcut=none gives the plain net; downsample=pool halves maps by pooling, not by strides; cross_layer lets the
    third stage look at the fourth (cross-layer non-local).
    """
    return ResNet(
        block,
        depths,
        stem=make_stem(stem, in_channels, width, image_size, parts),
        width=width,
        size=ceil(image_size / (8 * stem_stride(stem, image_size))),
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
        downsample=downsample,
        cross_layer=cross_layer,
    )


def cifar_resnet(
    block: Block,
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    shortcut: ShortcutKind = "A",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: PositiveInt = 16,
) -> nn.Module:
    """ResNet for 32 px images (section 4.2): three stages of basic blocks, `depth` a stage, the first `width` wide.

    shortcut=none gives the plain net; downsample=pool halves maps by pooling, not by strides; cross_layer lets the
    second stage look at the third (cross-layer non-local).
    """
    return ResNet(
        block,
        (depth,) * 3,
        stem=make_stem("small", in_channels, width, 32, parts),
        width=width,
        size=ceil(image_size / 4),
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
        downsample=downsample,
        cross_layer=cross_layer,
    )


#: What a residual network asks its parts for, and what it gets if nothing is said.
RESIDUAL = {
    **{"norm": "bn", "act": "relu", "init": "he", "pool": "max", "conv": "standard"},
    **{"attention": "none", "drop": "none", "head": "gap"},
}


def _register() -> None:
    """Table 1 and section 4.2, a line an entry."""
    for name, block, depths in [
        ("resnet18", BasicBlock, (2, 2, 2, 2)),
        ("resnet34", BasicBlock, (3, 4, 6, 3)),
        ("resnet50", Bottleneck, (3, 4, 6, 3)),
        ("resnet101", Bottleneck, (3, 4, 23, 3)),
        ("resnet152", Bottleneck, (3, 8, 36, 3)),
    ]:
        MODELS.register(name, source="arXiv:1512.03385, table 1", torchvision={"bn": name}, **RESIDUAL)(
            partial(imagenet_resnet, block, depths)
        )
    for layers in (20, 32, 44, 56, 110):
        MODELS.register(f"resnet{layers}", source="arXiv:1512.03385, section 4.2", **RESIDUAL)(
            partial(cifar_resnet, BasicBlock, (layers - 2) // 6)
        )


_register()
