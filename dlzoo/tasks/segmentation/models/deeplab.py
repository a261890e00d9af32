"""DeepLabv3: atrous spatial pyramid pooling on a dilated classifier."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne, Size
from dlzoo.layers.conv import ConvNormAct, NormAct, needs_bias
from dlzoo.layers.convs import conv2d
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.segmentation.models.fcn_resnet import REGISTRATION, DilatedSegmenter, Scores

#: How far apart the pixels of each dilated kernel are, in pixels of the image: 12, 24 and 36 at output stride 8.
REACHES = (96, 192, 288)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (N, channels, H, W) -> (N, width, H, W) (arXiv:1706.05587, figure 5).

    Side by side: a 1x1 convolution, 3x3 convolutions with dilations `rates`, and the mean over the image; then a 1x1
    convolution and dropout.
    """

    def __init__(self, channels: int, width: int, rates: list[int], parts: Parts, drop_rate: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNormAct(channels, width, 1, parts)])
        self.branches.extend(_dilated_conv(channels, width, rate, parts) for rate in rates)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(channels, width, 1, parts))
        self.project = ConvNormAct((len(rates) + 2) * width, width, 1, parts)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        branches = [branch(x) for branch in self.branches]
        # The same as resizing a single pixel bilinearly, as torchvision does.
        mean = self.image(x).expand(-1, -1, *x.shape[2:])
        return self.drop(self.project(torch.cat([*branches, mean], 1)))


class DeepLabHead(nn.Module):
    """ASPP, a 3x3 convolution and scores: (feature map, (H, W)) -> logits (N, num_classes, H, W)."""

    def __init__(
        self, channels: int, stride: int, num_classes: int, parts: Parts, *, width: int, drop_rate: float
    ) -> None:
        super().__init__()
        self.aspp = ASPP(channels, width, [max(1, reach // stride) for reach in REACHES], parts, drop_rate)
        self.conv = ConvNormAct(width, width, 3, parts, drop=True)
        self.attention = parts.attention(width)
        self.head = Scores(width, stride, num_classes, parts)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.head(self.attention(self.conv(self.aspp(x))), size)


def _dilated_conv(in_channels: int, width: int, rate: int, parts: Parts) -> nn.Module:
    after = NormAct(width, parts)
    return nn.Sequential(conv2d(in_channels, width, 3, dilation=rate, bias=needs_bias(after.norm)), after)


@MODELS.register("deeplabv3", source="arXiv:1706.05587, figure 5; torchvision's deeplabv3_resnet50", **REGISTRATION)
def deeplabv3(
    *,
    num_classes: int,
    parts: Parts,
    backbone: Backbone,
    output_stride: Literal[8, 16] = 8,
    auxiliary: bool = True,
    width: Size = 256,
    drop_rate: BelowOne = 0.5,
) -> DilatedSegmenter:
    """DeepLabv3 of torchvision: a dilated ResNet-50, and atrous spatial pyramid pooling

    `output_stride`: that of the last feature map, by dilation; the pyramid's dilations are 12, 24 and 36 at 8, and half
    of that at 16. `auxiliary`: in training a second head, on the stage before the last, whose loss counts half.
    `width`: channels of each branch; `drop_rate`: after the pyramid. The ResNet-50 has its 7x7 stem on small images
    too; for a backbone that you name, backbone.stem decides.
    """

    def decoder(channels: int, stride: int) -> nn.Module:
        return DeepLabHead(channels, stride, num_classes, parts, width=width, drop_rate=drop_rate)

    return DilatedSegmenter(num_classes=num_classes, backbone=backbone, parts=parts, output_stride=output_stride,
                            auxiliary=auxiliary, decoder=decoder)  # fmt: skip
