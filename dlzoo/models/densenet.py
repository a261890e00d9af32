"""DenseNet, plain and with bottleneck (B) and compression (C)."""

from __future__ import annotations

from functools import partial
from math import ceil

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Fraction, Size
from dlzoo.layers.conv import NormAct, NormActConv
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.stem import Stem, make_stem, stem_outputs, stem_stride


class DenseLayer(nn.Module):
    """Append `growth_rate` channels: (N, C, H, W) -> (N, C + growth_rate, H, W) (equation 2).

    With bottleneck a 1x1 convolution first reduces to 4 * growth_rate channels (section 3, DenseNet-B).
    """

    def __init__(self, in_channels: int, growth_rate: int, bottleneck: bool, parts: Parts) -> None:
        super().__init__()
        inner = 4 * growth_rate if bottleneck else in_channels
        self.reduce = NormActConv(in_channels, inner, 1, parts) if bottleneck else nn.Identity()
        self.grow = NormActConv(inner, growth_rate, 3, parts, drop=True)
        self.attention = parts.attention(growth_rate)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.attention(self.grow(self.reduce(x)))], dim=1)


class DenseNet(Classifier):
    """Stem, dense blocks with a transition (1x1 convolution, 2x2 average pooling) between, norm, pooling, head."""

    trunk = ("stem", "blocks", "last")

    def __init__(
        self,
        depths: tuple[int, ...],
        *,
        stem: nn.Module,
        stem_outputs: list[Stage],
        growth_rate: int,
        bottleneck: bool,
        compression: float,
        size: int,
        num_classes: int,
        parts: Parts,
    ) -> None:
        super().__init__()
        self.stem = stem
        _, stride, channels = stem_outputs[-1]
        outputs = list(stem_outputs)
        blocks: list[nn.Module] = []
        for index, depth in enumerate(depths):
            for _ in range(depth):
                blocks.append(DenseLayer(channels, growth_rate, bottleneck, parts))
                channels += growth_rate
            if index < len(depths) - 1:
                kept = int(channels * compression)
                if kept < 1:
                    raise UserError(f"model.compression={compression:g} leaves no channel of {channels}")
                blocks.append(NormActConv(channels, kept, 1, parts))
                outputs.append(Stage(f"blocks.{len(blocks) - 1}", stride, kept))
                blocks.append(parts.pool(kept))
                stride, channels = 2 * stride, kept
        self.blocks = nn.Sequential(*blocks)
        self.last = NormAct(channels, parts)
        self.feature_stages = last_at_each_stride([*outputs, Stage("last", stride, channels)])
        self.pool = parts.head(channels, size)
        self.head = nn.Linear(self.pool.out_features, num_classes)


def imagenet_densenet(
    depths: tuple[int, ...],
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    stem: Stem = "auto",
    growth_rate: Size = 32,
    bottleneck: bool = True,
    compression: Fraction = 0.5,
) -> nn.Module:
    """DenseNet for photographs (table 1): a stem of 2 * growth_rate channels and four dense blocks.

    Small images get a small stem. bottleneck=false and compression=1 give the plain form.
    """
    return DenseNet(
        depths,
        stem=make_stem(stem, in_channels, 2 * growth_rate, image_size, parts),
        stem_outputs=stem_outputs(stem, image_size, 2 * growth_rate),
        growth_rate=growth_rate,
        bottleneck=bottleneck,
        compression=compression,
        size=max(ceil(image_size / stem_stride(stem, image_size)) // 8, 1),
        num_classes=num_classes,
        parts=parts,
    )


def cifar_densenet(
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    growth_rate: Size = 12,
    bottleneck: bool = True,
    compression: Fraction = 0.5,
) -> nn.Module:
    """DenseNet for 32 px images (section 3): three dense blocks; a dense layer of the B form has two convolutions.

    The stem, a bare 3x3 convolution, has 2 * growth_rate channels in the BC form and 16 in the others.
    bottleneck=false and compression=1 give the plain form of the same depth.
    """
    stem_channels = 2 * growth_rate if bottleneck and compression < 1 else 16
    return DenseNet(
        ((depth - 4) // (6 if bottleneck else 3),) * 3,
        # No bias: as in the paper, and the first layer after it is a norm or has a bias.
        stem=nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False),
        stem_outputs=[Stage("stem", 1, stem_channels)],
        growth_rate=growth_rate,
        bottleneck=bottleneck,
        compression=compression,
        size=max(image_size // 4, 1),
        num_classes=num_classes,
        parts=parts,
    )


def _register() -> None:
    """Register table 1 and table 2 of the paper, one line each."""
    defaults = {"norm": "bn", "act": "relu", "init": "he", "pool": "avg"}
    defaults |= {"conv": "standard", "attention": "none", "drop": "none", "head": "gap"}
    for name, depths, growth_rate in [
        ("densenet121", (6, 12, 24, 16), 32),
        ("densenet161", (6, 12, 36, 24), 48),
        ("densenet169", (6, 12, 32, 32), 32),
        ("densenet201", (6, 12, 48, 32), 32),
    ]:
        MODELS.register(name, source="arXiv:1608.06993, table 1", torchvision={"bn": name}, **defaults)(
            partial(imagenet_densenet, depths, growth_rate=growth_rate)
        )
    for depth, growth_rate in [(40, 12), (100, 12), (190, 40)]:
        MODELS.register(f"densenet_bc_{depth}_{growth_rate}", source="arXiv:1608.06993, table 2", **defaults)(
            partial(cifar_densenet, depth, growth_rate=growth_rate)
        )


_register()
