"""GoogLeNet (Inception v1)."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne, NonNegative, Sizes
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.head import WithAuxiliary
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.stem import Stem, is_small

#: Table 1: channels of #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj; the modules 3a to 5b.
TABLE = {
    3: [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)],
    4: [
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ],
    5: [(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)],
}


class Inception(nn.Module):
    """Four branches side by side (figure 2b): three convolutions of several sizes and a pooling.

    Without `reduction` (figure 2a) the larger convolutions see all channels, and the pooling keeps its own.
    """

    def __init__(
        self, in_channels: int, row: tuple[int, ...], kernels: tuple[int, ...], reduction: bool, parts: Parts
    ) -> None:
        super().__init__()
        small, reduce_middle, middle, reduce_large, large, projected = row

        def conv(reduced: int, out_channels: int, kernel: int) -> nn.Module:
            if not reduction:
                return ConvNormAct(in_channels, out_channels, kernel, parts, drop=True)
            return nn.Sequential(
                ConvNormAct(in_channels, reduced, 1, parts),
                ConvNormAct(reduced, out_channels, kernel, parts, drop=True),
            )

        self.small = ConvNormAct(in_channels, small, kernels[0], parts, drop=True)
        self.middle = conv(reduce_middle, middle, kernels[1])
        self.large = conv(reduce_large, large, kernels[2])
        self.pooled = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1))
        if reduction:
            self.pooled.append(ConvNormAct(in_channels, projected, 1, parts))
        self.out_channels = small + middle + large + (projected if reduction else in_channels)
        self.attention = parts.attention(self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(torch.cat([self.small(x), self.middle(x), self.large(x), self.pooled(x)], dim=1))


class AuxiliaryHead(nn.Module):
    """A classifier in the middle (section 5): (N, C, H, W) -> (N, num_classes)."""

    def __init__(self, in_channels: int, num_classes: int, parts: Parts) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvNormAct(in_channels, 128, 1, parts)
        self.hidden = nn.Linear(128 * 16, 1024)
        self.act = parts.act()
        self.drop = nn.Dropout(0.7)
        self.head = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.act(self.hidden(self.conv(self.pool(x)).flatten(1)))))


@MODELS.register(
    "googlenet",
    source="arXiv:1409.4842, table 1, with batch norm as in torchvision",
    norm={"name": "bn", "eps": 0.001},
    **{"act": "relu", "init": "he", "conv": "standard", "attention": "none", "pool": "max", "drop": "none"},
    **{"head": "gap"},
    torchvision={"bn": "googlenet"},
)
class GoogLeNet(Classifier):
    """Stem, nine Inception modules in three stages, pooling, dropout, head. On small images the stem keeps their size.

    `kernels`: of the three convolutions of a module; torchvision's weights have 3 where the paper has 1,3,5; 3,3,3 is
    one size only. `reduction` false leaves the 1x1 reductions out. `aux` adds the two auxiliary classifiers, whose
    losses count `aux_weight` in training.
    """

    trunk = ("stem", "stage3", "pool3", "stage4", "pool4", "stage5")

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
        kernels: Sizes = (1, 3, 3),
        reduction: bool = True,
        aux: bool = False,
        aux_weight: NonNegative = 0.3,
        drop_rate: BelowOne = 0.2,
    ) -> None:
        super().__init__()
        if len(kernels) != 3:
            raise UserError(f"model.kernels are three numbers, such as [1,3,5], not {list(kernels)}")
        small = is_small(stem, image_size)
        self.stem = small_stem(in_channels, parts) if small else photo_stem(in_channels, parts)
        outputs = [Stage("stem", 1, 192)] if small else list(PHOTO_STEM)
        stride = outputs[-1].stride

        def stage(number: int, channels: int) -> tuple[nn.Sequential, list[int]]:
            """Return the modules of a stage, and the output channels of each."""
            modules, widths = [], [channels]
            for row in TABLE[number]:
                modules.append(Inception(widths[-1], row, kernels, reduction, parts))
                widths.append(modules[-1].out_channels)
            outputs.append(Stage(f"stage{number}", stride << (number - 3), widths[-1]))
            return nn.Sequential(*modules), widths[1:]

        self.stage3, widths3 = stage(3, 192)
        self.pool3 = parts.pool(widths3[-1], 3, ceil_mode=True)
        self.stage4, widths4 = stage(4, widths3[-1])
        self.pool4 = parts.pool(widths4[-1], 2, ceil_mode=True)
        self.stage5, widths5 = stage(5, widths4[-1])
        self.feature_stages = last_at_each_stride(outputs)
        self.aux_weight = aux_weight
        self.aux1 = AuxiliaryHead(widths4[0], num_classes, parts) if aux else None
        self.aux2 = AuxiliaryHead(widths4[3], num_classes, parts) if aux else None
        # 3x3 poolings round down, the last, 2x2, rounds up.
        size = image_size // 2 if small else ceil(image_size / 2) // 8
        self.pool = parts.head(widths5[-1], max(ceil(size / 2), 1))
        self.drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(self.pool.out_features, num_classes)

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        x = self.pool3(self.stage3(self.stem(x)))
        auxiliary = []
        for number, module in enumerate(self.stage4):
            x = module(x)
            # After 4a and 4d, in training only; a frozen one is in evaluation.
            head = {0: self.aux1, 3: self.aux2}.get(number)
            if head is not None and head.training:
                auxiliary.append(head(x))
        logits = self.head(self.drop(self.pool(self.stage5(self.pool4(x)))))
        return WithAuxiliary(logits, tuple(auxiliary), self.aux_weight) if auxiliary else logits


#: What comes out of the blocks of `photo_stem`.
PHOTO_STEM = [Stage("stem.0", 2, 64), Stage("stem.3", 4, 192), Stage("stem", 8, 192)]


def photo_stem(in_channels: int, parts: Parts) -> nn.Sequential:
    """Return the first rows of table 1: an eighth of the size, 192 channels."""
    return nn.Sequential(
        ConvNormAct(in_channels, 64, 7, parts, stride=2, fixed=True),
        parts.pool(64, 3, ceil_mode=True),
        ConvNormAct(64, 64, 1, parts),
        ConvNormAct(64, 192, 3, parts),
        parts.pool(192, 3, ceil_mode=True),
    )


def small_stem(in_channels: int, parts: Parts) -> nn.Sequential:
    """Return the same convolutions without anything that makes maps smaller."""
    return nn.Sequential(
        ConvNormAct(in_channels, 64, 3, parts, fixed=True),
        ConvNormAct(64, 64, 1, parts),
        ConvNormAct(64, 192, 3, parts),
    )
