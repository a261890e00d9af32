"""Pre-activation ResNet, and the wide residual network, which is one with two wide convolutions in a block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import NormAct, NormActConv, needs_bias
from dlzoo.layers.drop import depths_of
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.resnet import RESIDUAL
from dlzoo.models.stem import Stem, stem_outputs, stem_stride

#: (in_channels, width, stride, parts, depth) -> a block that knows its `out_channels`.
Block = Callable[[int, int, int, Parts, float], Any]


class PreActBasic(nn.Module):
    """Norm, activation, convolution, twice, and a shortcut (figure 4e): (N, in, H, W) -> (N, width, H/s, W/s)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, parts: Parts, depth: float) -> None:
        super().__init__()
        self.out_channels = width
        self.shortcut = make_projection(in_channels, width, stride)
        self.preact = NormAct(in_channels, parts)
        self.conv1 = parts.conv(in_channels, width, 3, stride=stride, bias=needs_bias(self.preact.norm))
        self.conv2 = NormActConv(width, width, 3, parts, drop=True)
        self.attention = parts.attention(width)
        self.branch_drop = parts.branch_drop(depth)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.preact(x)
        # A projection sees what the branch sees; the identity carries what came in.
        shortcut = x if self.shortcut is None else self.shortcut(ready)
        return shortcut + self.branch_drop(self.attention(self.conv2(self.conv1(ready))))


class PreActBottleneck(nn.Module):
    """Norm, activation, convolution, of 1x1, 3x3 and 1x1, and a shortcut: (N, in, H, W) -> (N, 4 * width, H/s, W/s)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, parts: Parts, depth: float) -> None:
        super().__init__()
        self.out_channels = 4 * width
        self.shortcut = make_projection(in_channels, 4 * width, stride)
        self.preact = NormAct(in_channels, parts)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=needs_bias(self.preact.norm))
        self.conv2 = NormActConv(width, width, 3, parts, stride=stride, drop=True)
        self.conv3 = NormActConv(width, 4 * width, 1, parts)
        self.attention = parts.attention(4 * width)
        self.branch_drop = parts.branch_drop(depth)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.preact(x)
        shortcut = x if self.shortcut is None else self.shortcut(ready)
        return shortcut + self.branch_drop(self.attention(self.conv3(self.conv2(self.conv1(ready)))))


def make_projection(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Return a 1x1 convolution where the shape changes; its input is normed, and the next norm has a bias."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class PreActResNet(Classifier):
    """Stem, stages of pre-activation blocks, a last norm and activation, pooling, head.

    The first block is as all others; the paper activates its input before the two paths part (appendix), WRN does not.
    """

    trunk = ("stem", "stages", "last")

    def __init__(
        self,
        block: Block,
        depths: tuple[int, ...],
        *,
        stem: nn.Module,
        stem_outputs: list[Stage],
        width: int,
        size: int,
        num_classes: int,
        parts: Parts,
    ) -> None:
        super().__init__()
        self.stem = stem
        _, first_stride, channels = stem_outputs[-1]
        stages, outputs = [], list(stem_outputs)
        for stage, of_stage in enumerate(depths_of(depths)):
            blocks = []
            for index, depth in enumerate(of_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(channels, width << stage, stride, parts, depth))
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
            outputs.append(Stage(f"stages.{stage}", first_stride << stage, channels))
        self.stages = nn.Sequential(*stages)
        self.last = NormAct(channels, parts)
        outputs.append(Stage("last", outputs[-1].stride, channels))
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(channels, size)
        self.head = nn.Linear(self.pool.out_features, num_classes)


def imagenet_preact_resnet(
    block: Block,
    depths: tuple[int, ...],
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    stem: Stem = "auto",
    width: Size = 64,
) -> nn.Module:
    """Pre-activation ResNet for photographs: a bare 7x7 convolution, pooling, four stages, the first `width` wide."""
    stride = stem_stride(stem, image_size)
    if stride == 1:
        first: nn.Module = bare_conv(in_channels, width)
    else:
        conv = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        first = nn.Sequential(conv, nn.MaxPool2d(3, stride=2, padding=1))
    return PreActResNet(
        block,
        depths,
        stem=first,
        stem_outputs=stem_outputs(stem, image_size, width),
        width=width,
        size=ceil(image_size / (8 * stride)),
        num_classes=num_classes,
        parts=parts,
    )


def cifar_preact_resnet(
    block: Block,
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    width: Size = 16,
) -> nn.Module:
    """Pre-activation ResNet for 32 px images (section 4.1): three stages, the first `width` wide."""
    return PreActResNet(
        block,
        (depth,) * 3,
        stem=bare_conv(in_channels, width),
        stem_outputs=[Stage("stem", 1, width)],
        width=width,
        size=ceil(image_size / 4),
        num_classes=num_classes,
        parts=parts,
    )


def wide_resnet(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    widen: Size = 10,
    width: Size = 16,
) -> nn.Module:
    """Wide ResNet (table 1): a stem `width` wide and three stages of pre-activation blocks, `widen` times as wide.

    drop=dropout drop.rate=0.3 is the paper's (section 2.4): between the convolutions of a block.
    """
    return PreActResNet(
        PreActBasic,
        (depth,) * 3,
        stem=bare_conv(in_channels, width),
        stem_outputs=[Stage("stem", 1, width)],
        width=width * widen,
        size=ceil(image_size / 4),
        num_classes=num_classes,
        parts=parts,
    )


def bare_conv(in_channels: int, out_channels: int) -> nn.Module:
    """Return a 3x3 convolution alone: the first block begins with a norm and an activation."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def _register() -> None:
    """Register the networks of both papers, one line each."""
    defaults = {kind: part for kind, part in RESIDUAL.items() if kind != "pool"}
    for name, block, depths in [
        ("preact_resnet18", PreActBasic, (2, 2, 2, 2)),
        ("preact_resnet34", PreActBasic, (3, 4, 6, 3)),
        ("preact_resnet50", PreActBottleneck, (3, 4, 6, 3)),
        ("preact_resnet101", PreActBottleneck, (3, 4, 23, 3)),
        ("preact_resnet152", PreActBottleneck, (3, 8, 36, 3)),
    ]:
        MODELS.register(name, source="arXiv:1603.05027, with the depths of arXiv:1512.03385", **defaults)(
            partial(imagenet_preact_resnet, block, depths)
        )
    for layers, block, convs in [
        *((20, PreActBasic, 2), (56, PreActBasic, 2), (110, PreActBasic, 2)),
        (164, PreActBottleneck, 3),
    ]:
        MODELS.register(f"preact_resnet{layers}", source="arXiv:1603.05027, section 4.1", **defaults)(
            partial(cifar_preact_resnet, block, (layers - 2) // (3 * convs))
        )
    for layers, widen in [(16, 4), (28, 10), (40, 4)]:
        MODELS.register(f"wrn_{layers}_{widen}", source="arXiv:1605.07146, tables 1 and 5", **defaults)(
            partial(wide_resnet, (layers - 4) // 6, widen=widen)
        )


_register()
