"""Necks that learn how much each map counts: BiFPN for whole maps, ASFF for every pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from dlzoo.core.registries import NECKS
from dlzoo.core.schema import PositiveInt
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.convs import conv2d
from dlzoo.layers.neck import UpsampleLike, NeckSettings, conv_set, merge, pyramid_block
from dlzoo.layers.neck_fpn import FPN
from dlzoo.layers.parts import Parts


@NECKS.register("bifpn", source="arXiv:1911.09070, section 3.3 and figure 2d")
class BiFPN(nn.Module):
    """Top-down and bottom-up, `repeats` times: maps meet as sum(w(i) * x(i)) / (sum(w(i)) + 0.0001), w = relu(learnt)

    Depthwise-separable convolutions follow each meeting; merge=concat puts the weighted maps side by side.
    """

    def __init__(
        self, *, channels: tuple[int, ...], parts: Parts, settings: NeckSettings, repeats: PositiveInt = 3
    ) -> None:
        super().__init__()

        self.out_channels = widths = settings.widths(channels)
        self.laterals = nn.ModuleList(
            ConvNormAct(before, width, 1, parts, act=False) for before, width in zip(channels, widths, strict=True)
        )
        if settings.spp:
            self.laterals[-1] = pyramid_block(channels[-1], widths[-1], parts)
        self.layers = nn.ModuleList(_BiFPNLayer(widths, parts, settings) for _ in range(repeats))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for layer in self.layers:
            maps = layer(maps)
        return maps


class _BiFPNLayer(nn.Module):
    """One layer of BiFPN. On the way back, what came in at a level meets it again, except at both ends."""

    def __init__(self, widths: list[int], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()

        levels = len(widths)
        self.enlarge = nn.ModuleList(UpsampleLike(coarse, fine, parts) for fine, coarse in pairwise(widths))
        self.shrink = nn.ModuleList(_shrink(fine, coarse, parts) for fine, coarse in pairwise(widths))
        self.down = nn.ModuleList(_WeightedFusion(2, width, settings, parts) for width in widths[:-1])
        self.up = nn.ModuleList(
            _WeightedFusion(2 if level == levels - 1 else 3, widths[level], settings, parts) for level in range(1, levels)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        found = list(maps)
        for level in reversed(range(len(maps) - 1)):
            coarser = self.enlarge[level](found[level + 1], maps[level])
            found[level] = self.down[level](maps[level], coarser)
        for level in range(1, len(maps)):
            finer = self.shrink[level - 1](found[level - 1])
            own = (maps[level],) if level == len(maps) - 1 else (maps[level], found[level])
            found[level] = self.up[level - 1](*own, finer)
        return found


class _WeightedFusion(nn.Module):
    """Fast normalised fusion of `maps` maps of `width` channels, and the convolutions after it."""

    def __init__(self, maps: int, width: int, settings: NeckSettings, parts: Parts) -> None:
        super().__init__()

        self.settings = settings
        self.shares = nn.Parameter(torch.ones(maps))
        self.convs = conv_set(settings.merged(width, maps), width, settings, parts, _separable)

    def forward(self, *maps: Tensor) -> Tensor:
        shares = self.shares.relu()
        shares = shares / (shares.sum() + 1e-4)
        return self.convs(merge(self.settings, *(share * x for share, x in zip(shares, maps, strict=True))))


def _separable(in_channels: int, out_channels: int, kernel_size: int, parts: Parts) -> nn.Module:
    if kernel_size == 1:
        return ConvNormAct(in_channels, out_channels, 1, parts)
    depthwise = conv2d(in_channels, in_channels, kernel_size, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, ConvNormAct(in_channels, out_channels, 1, parts, drop=True))


def _shrink(in_channels: int, out_channels: int, parts: Parts) -> nn.Module:
    """(N, in_channels, H, W) -> (N, out_channels, ceil(H / 2), ceil(W / 2)), by a pooling."""
    pool = parts.pool(out_channels, 3, padding=1)
    return (
        pool if in_channels == out_channels else nn.Sequential(ConvNormAct(in_channels, out_channels, 1, parts), pool)
    )


@NECKS.register("asff", source="arXiv:1911.09516, section 3.2")
class ASFF(nn.Module):
    """FPN, then each level is sum(a(n) * x(n)) of all levels, resized: a(n) a map, softmax over n of 1x1 convolutions

    Convolutions follow each sum, as many as after each merge of the FPN.
    """

    def __init__(self, *, channels: tuple[int, ...], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()
        self.pyramid = FPN(channels=channels, parts=parts, settings=settings)
        self.out_channels = widths = self.pyramid.out_channels
        targets = range(len(widths)) if len(widths) > 1 else ()  # a map alone has nothing to weigh
        self.levels = nn.ModuleList(_Adaptive(target, widths, parts, settings) for target in targets)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = self.pyramid(maps)
        return [level(maps) for level in self.levels] if self.levels else maps


class _Adaptive(nn.Module):
    """Adaptively spatial feature fusion for level `target`: maps of all levels -> one map of its size and width."""

    def __init__(self, target: int, widths: list[int], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()

        self.target, width = target, widths[target]
        self.paths = nn.ModuleList(_path(source, target, widths, parts) for source in range(len(widths)))
        self.scores = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in widths)
        self.convs = conv_set(width, width, settings, parts)

    def forward(self, maps: list[Tensor]) -> Tensor:
        height, width = maps[self.target].shape[2:]
        resized = [path(x)[:, :, :height, :width] for path, x in zip(self.paths, maps, strict=True)]
        scores = torch.cat([score(x) for score, x in zip(self.scores, resized, strict=True)], dim=1)
        shares = scores.softmax(dim=1).split(1, dim=1)
        return self.convs(sum(share * x for share, x in zip(shares, resized, strict=True)))


def _path(source: int, target: int, widths: list[int], parts: Parts) -> nn.Module:
    """Coarser maps: 1x1 convolution, upsampling. Finer ones: poolings, and a 3x3 convolution with stride 2 at last."""
    before, after = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(ConvNormAct(before, after, 1, parts), parts.upsample(after, 2 ** (source - target)))
    pools = [parts.pool(before, 3, padding=1) for _ in range(target - source - 1)]
    return nn.Sequential(*pools, ConvNormAct(before, after, 3, parts, stride=2))
