"""ResNet, its plain counterpart, and ResNeXt, which is ResNet with groups > 1 in the bottleneck."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.errors import UserError
from dlzoo.knobs import PositiveInt
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.stem import Stem, make_stem
from dlzoo.registry import MODELS

ShortcutKind = Literal["A", "B", "none"]
#: (in_channels, width, stride, parts, *, shortcut) -> a block that knows its `out_channels`.
Block = Callable[..., "BasicBlock | Bottleneck"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left): (N, in, H, W) -> (N, width, H/stride, W/stride)."""

    def __init__(self, in_channels: int, width: int, stride: int, parts: Parts, *, shortcut: ShortcutKind) -> None:
        super().__init__()
        self.out_channels = width
        self.conv1 = ConvNormAct(in_channels, width, 3, parts, stride=stride)
        self.conv2 = ConvNormAct(width, width, 3, parts, act=False)
        self.shortcut = make_shortcut(shortcut, in_channels, width, stride, parts)
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv2(self.conv1(x)) + self.shortcut(x))

    def zero_residual_(self) -> None:
        self.conv2.zero_norm_()


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 expand and a shortcut (figure 5, right); the stride is in the 3x3, as in torchvision.

    With groups > 1 the 3x3 is the aggregated transformation of ResNeXt (arXiv:1611.05431, figure 3c):
    (N, in, H, W) -> (N, 4 * width, H/stride, W/stride). A group of a block 64 wide has width_per_group channels.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        parts: Parts,
        *,
        shortcut: ShortcutKind,
        groups: int = 1,
        width_per_group: int = 64,
    ) -> None:
        super().__init__()
        inner = width * width_per_group // 64 * groups
        if inner == 0:
            raise UserError(
                f"model.width={width} leaves a group no channel; choose at least {-(-64 // width_per_group)}"
            )
        self.out_channels = out_channels = 4 * width
        self.conv1 = ConvNormAct(in_channels, inner, 1, parts)
        self.conv2 = ConvNormAct(inner, inner, 3, parts, stride=stride, groups=groups)
        self.conv3 = ConvNormAct(inner, out_channels, 1, parts, act=False)
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride, parts)
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))

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
    """Identity where the shape stays; else option A (padding) or B (a 1x1 projection); "none" is a plain net."""
    if kind == "none":
        return NoShortcut()
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return PadShortcut(in_channels, out_channels, stride)
    return ConvNormAct(in_channels, out_channels, 1, parts, stride=stride, act=False)


class ResNet(nn.Module):
    """Stem, stages of residual blocks (the width doubles, the size halves from the second on), pooling, head."""

    def __init__(
        self,
        block: Block,
        depths: tuple[int, ...],
        *,
        stem: nn.Module,
        stem_channels: int,
        width: int,
        num_classes: int,
        parts: Parts,
        shortcut: ShortcutKind,
    ) -> None:
        super().__init__()
        self.stem = stem
        channels = stem_channels
        stages = []
        for stage, depth in enumerate(depths):
            blocks = []
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(channels, width << stage, stride, parts, shortcut=shortcut))
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.stages(self.stem(x))).flatten(1))


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
    width: PositiveInt = 64,
) -> nn.Module:
    """ResNet for photographs: a 7x7 stem and four stages, the first `width` wide; small images get a small stem.

    shortcut=none gives the plain net.
    """
    return ResNet(
        block,
        depths,
        stem=make_stem(stem, in_channels, width, image_size, parts),
        stem_channels=width,
        width=width,
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
    )


def cifar_resnet(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    parts: Parts,
    shortcut: ShortcutKind = "A",
    width: PositiveInt = 16,
) -> nn.Module:
    """ResNet for 32 px images (section 4.2): three stages of (depth - 2) / 6 basic blocks, the first `width` wide.

    shortcut=none gives the plain net.
    """
    return ResNet(
        BasicBlock,
        ((depth - 2) // 6,) * 3,
        stem=make_stem("small", in_channels, width, 32, parts),
        stem_channels=width,
        width=width,
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
    )


def cifar_resnext(
    block: Block,
    /,
    *,
    num_classes: int,
    in_channels: int,
    parts: Parts,
    shortcut: ShortcutKind = "B",
    width: PositiveInt = 64,
) -> nn.Module:
    """ResNeXt-29 for 32 px images (section 5.3): three stages of three bottlenecks, 256, 512 and 1024 channels."""
    return ResNet(
        block,
        (3, 3, 3),
        stem=make_stem("small", in_channels, width, 32, parts),
        stem_channels=width,
        width=width,
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
    )


def _register() -> None:
    """Table 1 of the papers, a line an entry."""
    defaults = {"norm": "bn", "act": "relu", "init": "he"}
    resnet, resnext = "arXiv:1512.03385, table 1", "arXiv:1611.05431, table 1"
    block_32x4d = partial(Bottleneck, groups=32, width_per_group=4)
    block_32x8d = partial(Bottleneck, groups=32, width_per_group=8)
    for name, source, block, depths in [
        ("resnet18", resnet, BasicBlock, (2, 2, 2, 2)),
        ("resnet34", resnet, BasicBlock, (3, 4, 6, 3)),
        ("resnet50", resnet, Bottleneck, (3, 4, 6, 3)),
        ("resnet101", resnet, Bottleneck, (3, 4, 23, 3)),
        ("resnet152", resnet, Bottleneck, (3, 8, 36, 3)),
        ("resnext50_32x4d", resnext, block_32x4d, (3, 4, 6, 3)),
        ("resnext101_32x8d", resnext, block_32x8d, (3, 4, 23, 3)),
    ]:
        MODELS.register(name, source=source, **defaults)(partial(imagenet_resnet, block, depths))
    for depth in (20, 32, 44, 56, 110):
        MODELS.register(f"resnet{depth}", source="arXiv:1512.03385, section 4.2", **defaults)(
            partial(cifar_resnet, depth)
        )
    for groups in (8, 16):
        block = partial(Bottleneck, groups=groups, width_per_group=64)
        MODELS.register(f"resnext29_{groups}x64d", source="arXiv:1611.05431, section 5.3", **defaults)(
            partial(cifar_resnext, block)
        )


_register()
