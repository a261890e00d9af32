"""Darknet-53 and its cross-stage partial form, CSPDarknet-53."""

from __future__ import annotations

from functools import partial
from math import ceil

import torch
from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.drop import depths_of
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.stem import Stem, is_small

#: Blocks of the five stages; each stage is twice as wide as the one before.
DEPTHS = (1, 2, 8, 8, 4)


class DarkBlock(nn.Module):
    """1x1 to `hidden` channels, 3x3 back, and a shortcut (table 1): (N, channels, H, W) -> the same shape."""

    def __init__(self, channels: int, hidden: int, parts: Parts, depth: float) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, hidden, 1, parts)
        self.conv2 = ConvNormAct(hidden, channels, 3, parts, drop=True)
        self.attention = parts.attention(channels)
        self.branch_drop = parts.branch_drop(depth)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch_drop(self.attention(self.conv2(self.conv1(x))))

    def zero_residual_(self) -> None:
        self.conv2.zero_norm_()


class DarkStage(nn.Module):
    """A 3x3 convolution with stride 2 and residual blocks: (N, in, H, W) -> (N, out, H/2, W/2)."""

    def __init__(
        self, in_channels: int, out_channels: int, depths: list[float], parts: Parts, *, stride: int, first: bool
    ) -> None:
        super().__init__()
        self.down = ConvNormAct(in_channels, out_channels, 3, parts, stride=stride)
        self.blocks = nn.Sequential(*(DarkBlock(out_channels, out_channels // 2, parts, depth) for depth in depths))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.down(x))


class CrossStage(nn.Module):
    """The same, of half the channels only (arXiv:1911.11929, figure 5); the other half goes around the blocks.

    The first stage is the exception: both halves are as wide as its output, and its block has a bottleneck.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depths: list[float], parts: Parts, *, stride: int, first: bool
    ) -> None:
        super().__init__()
        half = out_channels if first else out_channels // 2
        hidden = half // 2 if first else half
        self.down = ConvNormAct(in_channels, out_channels, 3, parts, stride=stride)
        self.split = ConvNormAct(out_channels, 2 * half, 1, parts)
        self.blocks = nn.Sequential(*(DarkBlock(half, hidden, parts, depth) for depth in depths))
        self.transition = ConvNormAct(half, half, 1, parts)
        self.merge = ConvNormAct(2 * half, out_channels, 1, parts)

    def forward(self, x: Tensor) -> Tensor:
        around, through = self.split(self.down(x)).chunk(2, dim=1)
        return self.merge(torch.cat([around, self.transition(self.blocks(through))], dim=1))


class Darknet(Classifier):
    """A 3x3 convolution, five stages, pooling, head. On small images the first two stages keep the size.

    The stem is `width` wide, the last stage 32 times as wide.
    """

    trunk = ("stem", "stages")

    def __init__(
        self,
        stage: type[DarkStage | CrossStage],
        /,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        width: Size = 32,
    ) -> None:
        super().__init__()
        strides = (1, 1, 2, 2, 2) if is_small(stem, image_size) else (2,) * 5
        self.stem = ConvNormAct(in_channels, width, 3, parts, fixed=True)
        stages, outputs, reduction = [], [Stage("stem", 1, width)], 1
        for index, (depths, stride) in enumerate(zip(depths_of(DEPTHS), strides, strict=True)):
            channels = width << index
            stages.append(stage(channels, 2 * channels, depths, parts, stride=stride, first=index == 0))
            reduction *= stride
            outputs.append(Stage(f"stages.{index}", reduction, 2 * channels))
        self.stages = nn.Sequential(*stages)
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(32 * width, ceil(image_size / reduction))
        self.head = nn.Linear(self.pool.out_features, num_classes)


def _register() -> None:
    """Register the two backbones of YOLO, one line each."""
    parts = {"norm": "bn", "init": "he", "conv": "standard", "attention": "none", "drop": "none", "head": "gap"}
    leaky = {"name": "leaky_relu", "negative_slope": 0.1}
    MODELS.register("darknet53", source="arXiv:1804.02767, table 1", act=leaky, **parts)(partial(Darknet, DarkStage))
    MODELS.register("cspdarknet53", source="arXiv:2004.10934, section 3.4; arXiv:1911.11929", act="mish", **parts)(
        partial(Darknet, CrossStage)
    )


_register()
