"""MobileNet V1 and V2."""

from __future__ import annotations

from math import ceil
from typing import Literal

from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne, Positive, Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.drop import depths_of
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.stem import Stem, is_small


def round_channels(channels: float) -> int:
    """Return the multiple of eight nearest to `channels`, and not less than nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SeparableBlock(nn.Module):
    """Depthwise 3x3, then pointwise, with norm and activation (V1, figure 3): (N, in, H, W) -> (N, out, H/s, W/s)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, parts: Parts) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(in_channels, in_channels, 3, parts, stride=stride, groups=in_channels)
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, parts, drop=True)
        self.attention = parts.attention(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.pointwise(self.depthwise(x)))


@MODELS.register(
    "mobilenet_v1",
    source="arXiv:1704.04861, table 1",
    **{"norm": "bn", "act": "relu", "init": "he", "attention": "none", "drop": "none", "head": "gap"},
)
class MobileNetV1(Classifier):
    """Depthwise-separable convolutions, `width` times as wide as in table 1.

    Small images keep their size in the stem and where the maps are halved first.
    """

    trunk = ("stem", "blocks")

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        width: Positive = 1.0,
    ) -> None:
        super().__init__()
        stride = 1 if is_small(stem, image_size) else 2
        channels = round_channels(32 * width)
        self.stem = ConvNormAct(in_channels, channels, 3, parts, stride=stride, fixed=True)
        blocks, outputs, reduction = [], [Stage("stem", stride, channels)], stride
        rows = [(64, 1), (128, stride), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        for wide, block_stride in rows:
            before, channels = channels, round_channels(wide * width)
            reduction *= block_stride
            outputs.append(Stage(f"blocks.{len(blocks)}", reduction, channels))
            blocks.append(SeparableBlock(before, channels, block_stride, parts))
        self.blocks = nn.Sequential(*blocks)
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(channels, ceil(image_size / (8 * stride**2)))
        self.head = nn.Linear(self.pool.out_features, num_classes)


class InvertedResidual(nn.Module):
    """1x1 to `hidden` channels, depthwise 3x3, 1x1 to `out`, and a shortcut where the shape stays (V2, figure 3b).

    The end has no activation if `linear`. An expansion of 1 leaves the first convolution out (table 2, first row).
    """

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int, stride: int, parts: Parts, *, linear: bool, depth: float
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = nn.Identity() if hidden == in_channels else ConvNormAct(in_channels, hidden, 1, parts)
        self.depthwise = ConvNormAct(hidden, hidden, 3, parts, stride=stride, groups=hidden, drop=True)
        self.project = ConvNormAct(hidden, out_channels, 1, parts, act=not linear)
        self.attention = parts.attention(out_channels)
        self.branch_drop = parts.branch_drop(depth) if self.residual else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch_drop(self.attention(self.project(self.depthwise(self.expand(x)))))
        return x + branch if self.residual else branch

    def zero_residual_(self) -> None:
        if self.residual:
            self.project.zero_norm_()


@MODELS.register(
    "mobilenet_v2",
    source="arXiv:1801.04381, table 2",
    **{"norm": "bn", "act": "relu6", "init": "he", "attention": "none", "drop": "none", "head": "gap"},
    torchvision={"bn": "mobilenet_v2"},
)
class MobileNetV2(Classifier):
    """Inverted residuals with linear bottlenecks, `width` times as wide as in table 2.

    `linear` false puts an activation at the end of each block. bottleneck=ordinary turns the blocks inside out, as in
    ResNet: `expansion` times as wide between them, narrow in their middle, where the depthwise convolution is; a block
    costs about the same. Small images keep their size in the stem and where the maps are halved first.
    """

    trunk = ("stem", "blocks", "last")

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        width: Positive = 1.0,
        expansion: Size = 6,
        linear: bool = True,
        bottleneck: Literal["inverted", "ordinary"] = "inverted",
        drop_rate: BelowOne = 0.2,
    ) -> None:
        super().__init__()
        stride = 1 if is_small(stem, image_size) else 2
        channels = round_channels(32 * width)
        self.stem = ConvNormAct(in_channels, channels, 3, parts, stride=stride, fixed=True)
        # Expansion, channels, blocks and stride of table 2.
        rows = [(1, 16, 1, 1), (expansion, 24, 2, stride), (expansion, 32, 3, 2), (expansion, 64, 4, 2)]
        rows += [(expansion, 96, 3, 1), (expansion, 160, 3, 2), (expansion, 320, 1, 1)]
        blocks, outputs, reduction = [], [Stage("stem", stride, channels)], stride
        places = depths_of([row[2] for row in rows])
        for (factor, wide, repeats, row_stride), depths in zip(rows, places, strict=True):
            for index in range(repeats):
                narrow = round_channels(wide * width)
                if bottleneck == "inverted":
                    before, channels = channels, narrow
                    hidden = before * factor
                else:
                    before, channels, hidden = channels, narrow * factor, narrow
                place = (before, channels, hidden, row_stride if index == 0 else 1, parts)
                blocks.append(InvertedResidual(*place, linear=linear, depth=depths[index]))
            reduction *= row_stride
            outputs.append(Stage(f"blocks.{len(blocks) - 1}", reduction, channels))
        self.blocks = nn.Sequential(*blocks)
        features = round_channels(1280 * max(1.0, width))
        self.last = ConvNormAct(channels, features, 1, parts)
        self.feature_stages = last_at_each_stride([*outputs, Stage("last", reduction, features)])
        self.pool = parts.head(features, ceil(image_size / (8 * stride**2)))
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(self.pool.out_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.pool(self.features(x))))
