"""ShuffleNet V1 and V2."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Literal

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Positive
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.drop import depths_of
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.stem import Stem, make_light_stem, stem_outputs, stem_stride

#: Units of the three stages, in both papers.
REPEATS = (4, 8, 4)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out to all groups (V1, figure 1c)."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 (V1, figure 2b and c): (N, in, H, W) -> (N, out, H/s, W/s).

    With stride 1 the input is added; with stride 2 its average is put beside, and the branch makes the rest.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: int,
        first_groups: int,
        parts: Parts,
        depth: float,
    ) -> None:
        super().__init__()
        self.groups = groups
        hidden, new_channels = out_channels // 4, out_channels if stride == 1 else out_channels - in_channels
        self.reduce = ConvNormAct(in_channels, hidden, 1, parts, groups=first_groups)
        self.depthwise = ConvNormAct(hidden, hidden, 3, parts, stride=stride, groups=hidden, act=False, drop=True)
        self.expand = ConvNormAct(hidden, new_channels, 1, parts, groups=groups, act=False)
        self.attention = parts.attention(new_channels)
        self.branch_drop = parts.branch_drop(depth) if stride == 1 else nn.Identity()
        self.around = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.expand(self.depthwise(shuffle(self.reduce(x), self.groups)))
        branch = self.branch_drop(self.attention(branch))
        return self.act(x + branch if self.around is None else torch.cat([self.around(x), branch], dim=1))

    def zero_residual_(self) -> None:
        if self.around is None:
            self.expand.zero_norm_()


@MODELS.register(
    "shufflenet_v1",
    source="arXiv:1707.01083, table 1",
    **{"norm": "bn", "act": "relu", "init": "he", "attention": "none", "drop": "none", "head": "gap"},
)
class ShuffleNetV1(Classifier):
    """Pointwise convolutions in `groups` and channel shuffle, `width` times as wide as in table 1."""

    trunk = ("stem", "units")

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        groups: Literal[1, 2, 3, 4, 8] = 3,
        width: Positive = 1.0,
    ) -> None:
        super().__init__()
        channels = max(int(24 * width), 1)
        self.stem = make_light_stem(stem, in_channels, channels, image_size, parts)
        outputs = stem_outputs(stem, image_size, channels)
        wide = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups] * width
        # Groups divide the quarter that a unit reduces to.
        unit = 4 * groups
        wide = max(round(wide / unit), 1) * unit
        if wide <= channels:
            raise UserError(
                f"model.width={width:g} makes the first stage no wider than its stem, of {channels} channels"
            )
        units = []
        for stage, depths in enumerate(depths_of(REPEATS)):
            for index, depth in enumerate(depths):
                # The stem's channels are too few for groups.
                first_groups = 1 if stage == index == 0 else groups
                place = (2 if index == 0 else 1, groups, first_groups, parts, depth)
                units.append(ShuffleUnit(channels, wide << stage, *place))
                channels = wide << stage
            outputs.append(Stage(f"units.{len(units) - 1}", 2 * outputs[-1].stride, channels))
        self.units = nn.Sequential(*units)
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(channels, ceil(image_size / (8 * stem_stride(stem, image_size))))
        self.head = nn.Linear(self.pool.out_features, num_classes)


class SplitUnit(nn.Module):
    """Half of the channels pass, half are worked on, then shuffled (V2, figure 3c): (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, parts: Parts) -> None:
        super().__init__()
        self.branch = Branch(channels // 2, channels // 2, 1, parts)

    def forward(self, x: Tensor) -> Tensor:
        passed, worked = x.chunk(2, dim=1)
        return shuffle(torch.cat([passed, self.branch(worked)], dim=1), 2)


class DownUnit(nn.Module):
    """Both branches work on all channels with stride 2 (V2, figure 3d): (N, in, H, W) -> (N, out, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int, parts: Parts) -> None:
        super().__init__()
        half = out_channels // 2
        self.around = nn.Sequential(
            ConvNormAct(in_channels, in_channels, 3, parts, stride=2, groups=in_channels, act=False),
            ConvNormAct(in_channels, half, 1, parts),
        )
        self.branch = Branch(in_channels, half, 2, parts)

    def forward(self, x: Tensor) -> Tensor:
        return shuffle(torch.cat([self.around(x), self.branch(x)], dim=1), 2)


class Branch(nn.Module):
    """1x1, depthwise 3x3 without activation, 1x1: (N, in, H, W) -> (N, out, H/s, W/s)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, parts: Parts) -> None:
        super().__init__()
        self.pointwise1 = ConvNormAct(in_channels, out_channels, 1, parts)
        self.depthwise = ConvNormAct(
            *(out_channels, out_channels, 3, parts), stride=stride, groups=out_channels, act=False, drop=True
        )
        self.pointwise2 = ConvNormAct(out_channels, out_channels, 1, parts)
        self.attention = parts.attention(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.pointwise2(self.depthwise(self.pointwise1(x))))


class ShuffleNetV2(Classifier):
    """Channel split and shuffle; `widths` are those of stem, stages and last convolution (table 5)."""

    trunk = ("stem", "units", "last")

    def __init__(
        self,
        widths: tuple[int, ...],
        /,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
    ) -> None:
        super().__init__()
        channels, *stages, features = widths
        self.stem = make_light_stem(stem, in_channels, channels, image_size, parts)
        outputs = stem_outputs(stem, image_size, channels)
        units: list[nn.Module] = []
        for repeats, wide in zip(REPEATS, stages, strict=True):
            units.append(DownUnit(channels, wide, parts))
            units += [SplitUnit(wide, parts) for _ in range(repeats - 1)]
            channels = wide
            outputs.append(Stage(f"units.{len(units) - 1}", 2 * outputs[-1].stride, channels))
        self.units = nn.Sequential(*units)
        self.last = ConvNormAct(channels, features, 1, parts)
        outputs.append(Stage("last", outputs[-1].stride, features))
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(features, ceil(image_size / (8 * stem_stride(stem, image_size))))
        self.head = nn.Linear(self.pool.out_features, num_classes)


def _register() -> None:
    """Register V2 (table 5), one line each."""
    parts = {"norm": "bn", "act": "relu", "init": "he", "attention": "none", "drop": "none", "head": "gap"}
    for name, widths in [
        ("shufflenet_v2_x0_5", (24, 48, 96, 192, 1024)),
        ("shufflenet_v2_x1_0", (24, 116, 232, 464, 1024)),
        ("shufflenet_v2_x1_5", (24, 176, 352, 704, 1024)),
        ("shufflenet_v2_x2_0", (24, 244, 488, 976, 2048)),
    ]:
        MODELS.register(name, source="arXiv:1807.11164, table 5", torchvision={"bn": name}, **parts)(
            partial(ShuffleNetV2, widths)
        )


_register()
