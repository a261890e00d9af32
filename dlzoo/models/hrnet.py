"""HRNet: branches of several resolutions side by side, which exchange what they found again and again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import ceil
from typing import cast

from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.drop import depths_of
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride, run
from dlzoo.models.residual import BasicBlock, Bottleneck
from dlzoo.models.stem import Stem, is_small

#: Exchanges of the stages with two, three and four branches.
MODULES = (1, 4, 3)
#: Blocks of a branch between two exchanges.
BLOCKS = 4
#: Widths of the bottlenecks of the head, and its features.
HEAD_WIDTHS, FEATURES = (32, 64, 128, 256), 2048


class Fuse(nn.Module):
    """Multi-resolution fusion (figure 3): maps of every branch -> for every branch the sum over all, resized.

    A finer branch comes down by 3x3 convolutions with stride 2, a coarser one up by a 1x1 convolution and upsampling.
    """

    def __init__(self, widths: list[int], parts: Parts) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(self._path(source, target, widths, parts) for source in range(len(widths)))
            for target in range(len(widths))
        )
        self.act = parts.act()

    @staticmethod
    def _path(source: int, target: int, widths: list[int], parts: Parts) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return nn.Sequential(
                ConvNormAct(widths[source], widths[target], 1, parts, act=False),
                parts.upsample(widths[target], 2 ** (source - target)),
            )
        down = [ConvNormAct(widths[source], widths[source], 3, parts, stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*down, ConvNormAct(widths[source], widths[target], 3, parts, stride=2, act=False))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fused = []
        for paths, target in zip(self.paths, maps, strict=True):
            # Upsampling doubles what strides have halved and rounded up.
            height, width = target.shape[2:]
            resized = [path(x)[:, :, :height, :width] for path, x in zip(cast(nn.ModuleList, paths), maps, strict=True)]
            fused.append(self.act(sum(resized[1:], resized[0])))
        return fused


class Exchange(nn.Module):
    """Residual blocks in every branch, then fusion: a list of maps -> a list of the same shapes."""

    def __init__(self, widths: list[int], depths: list[float], parts: Parts) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width, 1, parts, depth=depth) for depth in depths)) for width in widths
        )
        self.fuse = Fuse(widths, parts)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return self.fuse([branch(x) for branch, x in zip(self.branches, maps, strict=True)])


class BranchStage(nn.Module):
    """One branch more, half as fine as the last, and several exchanges: maps of n branches -> of n + 1."""

    def __init__(self, before: list[int], widths: list[int], depths: list[list[float]], parts: Parts) -> None:
        super().__init__()
        kept = zip(before, widths, strict=False)
        self.kept = nn.ModuleList(nn.Identity() if old == new else ConvNormAct(old, new, 3, parts) for old, new in kept)
        self.new = ConvNormAct(before[-1], widths[-1], 3, parts, stride=2)
        self.exchanges = nn.ModuleList(Exchange(widths, of_module, parts) for of_module in depths)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [*(layer(x) for layer, x in zip(self.kept, maps, strict=True)), self.new(maps[-1])]
        for exchange in self.exchanges:
            maps = exchange(maps)
        return maps


class HRNet(Classifier):
    """Stem, four bottlenecks, stages with two, three and four branches, and the head for classification (appendix).

    The branches are `width`, 2 * width, ... wide. Small images get a stem that keeps their size.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        width: Size = 18,
    ) -> None:
        super().__init__()
        stride = 1 if is_small(stem, image_size) else 2
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, 64, 3, parts, stride=stride, fixed=True),
            ConvNormAct(64, 64, 3, parts, stride=stride, fixed=True),
        )
        first_depths, *module_depths = depths_of([BLOCKS] * (1 + sum(MODULES)))
        channels = [64, 256, 256, 256]
        self.first = nn.Sequential(
            *(Bottleneck(c, 64, 1, parts, depth=depth) for c, depth in zip(channels, first_depths, strict=True))
        )
        before = [256]
        self.stages = nn.ModuleList()
        for branches, modules in enumerate(MODULES, 2):
            widths = [width << branch for branch in range(branches)]
            self.stages.append(BranchStage(before, widths, module_depths[:modules], parts))
            before, module_depths = widths, module_depths[modules:]
        self.widen = nn.ModuleList(Bottleneck(c, wide, 1, parts) for c, wide in zip(before, HEAD_WIDTHS, strict=True))
        # As in the reference these have biases beside their norms.
        self.down = nn.ModuleList(
            ConvNormAct(4 * wide, 8 * wide, 3, parts, stride=2, bias=True) for wide in HEAD_WIDTHS[:-1]
        )
        self.last = ConvNormAct(4 * HEAD_WIDTHS[-1], FEATURES, 1, parts, bias=True)
        self.feature_stages = last_at_each_stride(
            [
                Stage("stem.0", stride, 64),
                Stage("widen.0", stride**2, 4 * HEAD_WIDTHS[0]),
                *(Stage(f"down.{i}", stride**2 << (i + 1), 4 * wide) for i, wide in enumerate(HEAD_WIDTHS[1:])),
                Stage("last", 8 * stride**2, FEATURES),
            ]
        )
        self.pool = parts.head(FEATURES, ceil(image_size / (8 * stride**2)))
        self.head = nn.Linear(self.pool.out_features, num_classes)

    def features(self, images: Tensor) -> Tensor:
        x = images
        for _, x in self.outputs(images):  # noqa: B007 - the last one is returned
            pass
        return x

    def outputs(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Compute those of the head step by step; to what `down` returns the branch of that size is added."""
        x = yield from run("stem", self.stem, images)
        maps = [self.first(x)]
        for stage in self.stages:
            maps = stage(maps)
        merged, *coarser = [widen(x) for widen, x in zip(self.widen, maps, strict=True)]
        yield "widen.0", merged
        for index, (down, x) in enumerate(zip(self.down, coarser, strict=True)):
            merged = down(merged) + x
            yield f"down.{index}", merged
        yield "last", self.last(merged)


def _register() -> None:
    """Register the widths, one line each."""
    parts = {"norm": "bn", "act": "relu", "init": "he", "conv": "standard", "attention": "none"}
    parts |= {"drop": "none", "head": "gap", "upsample": "nearest"}
    for width in (18, 32, 48):
        MODELS.register(f"hrnet_w{width}", source="arXiv:1908.07919, section 3; the head as in timm", **parts)(
            partial(HRNet, width=width)
        )


_register()
