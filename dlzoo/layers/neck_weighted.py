"""Necks with learnt fusion weights: one per feature map (BiFPN), or per pixel (ASFF)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from dlzoo.core.registries import NECKS
from dlzoo.core.schema import Depth
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.convs import conv2d
from dlzoo.layers.neck import NeckSettings, UpsampleLike, conv_set, merge, pyramid_block
from dlzoo.layers.neck_fpn import FPN
from dlzoo.layers.parts import Parts


@NECKS.register("bifpn", source="arXiv:1911.09070, section 3.3 and figure 2d")
class BiFPN(nn.Module):
    """Top-down and bottom-up, `repeats` times, with fusion sum(w(i) * x(i)) / (sum(w(i)) + 0.0001), w = relu(learnt)

    Depthwise-separable convolutions follow each fusion; merge=concat concatenates the weighted feature maps.
    """

    def __init__(self, *, channels: tuple[int, ...], parts: Parts, settings: NeckSettings, repeats: Depth = 3) -> None:
        super().__init__()

        self.out_channels = widths = settings.widths(channels)
        self.laterals = nn.ModuleList(
            ConvNormAct(before, width, 1, parts, act=False) for before, width in zip(channels, widths, strict=True)
        )
        if settings.spp:
            self.laterals[-1] = pyramid_block(channels[-1], widths[-1], parts)
        self.layers = nn.ModuleList(_BiFPNLayer(widths, parts, settings) for _ in range(repeats))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = [lateral(x) for lateral, x in zip(self.laterals, features, strict=True)]
        for layer in self.layers:
            features = layer(features)
        return features


class _BiFPNLayer(nn.Module):
    """One layer of BiFPN. The bottom-up path also fuses the input of each level, except at the ends of the path."""

    def __init__(self, widths: list[int], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()

        levels = len(widths)
        self.enlarge = nn.ModuleList(UpsampleLike(coarse, fine, parts) for fine, coarse in pairwise(widths))
        self.shrink = nn.ModuleList(_shrink(fine, coarse, parts) for fine, coarse in pairwise(widths))
        self.down = nn.ModuleList(_WeightedFusion(2, width, settings, parts) for width in widths[:-1])
        self.up = nn.ModuleList(
            _WeightedFusion(2 if level == levels - 1 else 3, widths[level], settings, parts)
            for level in range(1, levels)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        outputs = list(features)
        for level in reversed(range(len(features) - 1)):
            coarser = self.enlarge[level](outputs[level + 1], features[level])
            outputs[level] = self.down[level](features[level], coarser)
        for level in range(1, len(features)):
            finer = self.shrink[level - 1](outputs[level - 1])
            inputs = (features[level],) if level == len(features) - 1 else (features[level], outputs[level])
            outputs[level] = self.up[level - 1](*inputs, finer)
        return outputs


class _WeightedFusion(nn.Module):
    """Fast normalised fusion of `count` feature maps with `width` channels, and the convolutions after it."""

    def __init__(self, count: int, width: int, settings: NeckSettings, parts: Parts) -> None:
        super().__init__()

        self.settings = settings
        self.shares = nn.Parameter(torch.ones(count))
        self.convs = conv_set(settings.merged(width, count), width, settings, parts, _separable)

    def forward(self, *features: Tensor) -> Tensor:
        weights = self.shares.relu()
        weights = weights / (weights.sum() + 1e-4)
        return self.convs(merge(self.settings, *(weight * x for weight, x in zip(weights, features, strict=True))))


def _separable(in_channels: int, out_channels: int, kernel_size: int, parts: Parts) -> nn.Module:
    if kernel_size == 1:
        return ConvNormAct(in_channels, out_channels, 1, parts)
    depthwise = conv2d(in_channels, in_channels, kernel_size, groups=in_channels, bias=False)
    return nn.Sequential(depthwise, ConvNormAct(in_channels, out_channels, 1, parts, drop=True))


def _shrink(in_channels: int, out_channels: int, parts: Parts) -> nn.Module:
    """Return a pooling: (N, in_channels, H, W) -> (N, out_channels, ceil(H / 2), ceil(W / 2))."""
    pool = parts.pool(out_channels, 3, padding=1)
    return (
        pool if in_channels == out_channels else nn.Sequential(ConvNormAct(in_channels, out_channels, 1, parts), pool)
    )


@NECKS.register("asff", source="arXiv:1911.09516, section 3.2")
class ASFF(nn.Module):
    """FPN, then each level is sum(a(n) * x(n)) over all levels, resized; a(n) per pixel, softmax of 1x1 convolutions

    Convolutions follow each sum, as many as after each merge of the FPN.
    """

    def __init__(self, *, channels: tuple[int, ...], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()
        self.pyramid = FPN(channels=channels, parts=parts, settings=settings)
        self.out_channels = widths = self.pyramid.out_channels
        targets = range(len(widths)) if len(widths) > 1 else ()  # a single level needs no fusion
        self.levels = nn.ModuleList(_Adaptive(target, widths, parts, settings) for target in targets)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = self.pyramid(features)
        return [level(features) for level in self.levels] if self.levels else features


class _Adaptive(nn.Module):
    """Adaptively spatial feature fusion for level `target`: feature maps of all levels -> one of its size and width."""

    def __init__(self, target: int, widths: list[int], parts: Parts, settings: NeckSettings) -> None:
        super().__init__()

        self.target, width = target, widths[target]
        self.paths = nn.ModuleList(_path(source, target, widths, parts) for source in range(len(widths)))
        self.scores = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in widths)
        self.convs = conv_set(width, width, settings, parts)

    def forward(self, features: list[Tensor]) -> Tensor:
        height, width = features[self.target].shape[2:]
        resized = [path(x)[:, :, :height, :width] for path, x in zip(self.paths, features, strict=True)]
        scores = torch.cat([score(x) for score, x in zip(self.scores, resized, strict=True)], dim=1)
        weights = scores.softmax(dim=1).split(1, dim=1)
        return self.convs(sum(weight * x for weight, x in zip(weights, resized, strict=True)))


def _path(source: int, target: int, widths: list[int], parts: Parts) -> nn.Module:
    """Resize level `source` to `target`: 1x1 convolution and upsampling, or poolings and a 3x3 stride-2 convolution."""
    before, after = widths[source], widths[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(ConvNormAct(before, after, 1, parts), parts.upsample(after, 2 ** (source - target)))
    pools = [parts.pool(before, 3, padding=1) for _ in range(target - source - 1)]
    return nn.Sequential(*pools, ConvNormAct(before, after, 3, parts, stride=2))
