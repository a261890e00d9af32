"""Segmentation on a dilated classifier: what FCN and DeepLab have in common in torchvision, and FCN itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.convs import conv2d
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.segmentation.models.segmenter import BackboneSegmenter

#: Weight of the loss of the auxiliary head, as in torchvision's training.
AUXILIARY_WEIGHT = 0.5

#: (channels, stride) of a feature map -> a module: (feature map, (H, W)) -> logits (N, num_classes, H, W).
MakeDecoder = Callable[[int, int], nn.Module]

#: The registration of a network on a dilated ResNet-50. Its stem is that of photographs for images of any size.
REGISTRATION = {
    **{"tasks": ("segment",), "backbone": {"name": "resnet50", "stem": "imagenet"}},
    **{"norm": "bn", "act": "relu", "init": "he", "conv": "standard", "attention": "none"},
    **{"pool": "max", "drop": "none", "upsample": "default"},
}


class DilatedSegmenter(BackboneSegmenter):
    """A decoder on the last feature map of a backbone, which is dilated beyond `output_stride` (models.dilate).

    With `auxiliary` the last feature map but one has an FCN head in training. Images are not padded: feature maps round
    up, and the logits are resized to the image, as in torchvision.

    Raises:
        UserError: for a backbone that cannot be dilated, or has a single feature map and `auxiliary` is set.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        backbone: Backbone,
        parts: Parts,
        output_stride: int,
        auxiliary: bool,
        decoder: MakeDecoder,
    ) -> None:
        super().__init__()
        strides = backbone.strides()[-2 if auxiliary else -1 :]
        if auxiliary and len(strides) < 2:
            raise UserError("the backbone has no second feature map for the auxiliary head: set model.auxiliary=false")
        channels = backbone.select(strides, parts, output_stride=output_stride)
        finer, self.stride = (min(stride, output_stride) for stride in (strides[0], strides[-1]))
        self.backbone = backbone
        self.decoder = decoder(channels[-1], self.stride)
        self.auxiliary = FCNHead(channels[0], finer, num_classes, parts) if auxiliary else None

    def padded(self, side: int) -> int:
        """Return the side itself: the network takes images of any size."""
        return side

    def logits(self, images: Tensor) -> tuple[Tensor, Sequence[Tensor], float]:
        *finer, last = self.backbone(images)
        size = (images.shape[2], images.shape[3])
        logits = self.decoder(last, size)
        # A frozen head is in evaluation.
        if self.auxiliary is None or not self.auxiliary.training:
            return logits, (), 0.0
        return logits, (self.auxiliary(finer[0], size),), AUXILIARY_WEIGHT


class FCNHead(nn.Module):
    """3x3 convolution to a quarter of the channels, dropout, and scores: -> logits (N, num_classes, H, W)."""

    def __init__(self, channels: int, stride: int, num_classes: int, parts: Parts, drop_rate: float = 0.1) -> None:
        super().__init__()
        width = max(channels // 4, 1)
        self.conv = ConvNormAct(channels, width, 3, parts, drop=True)
        self.attention = parts.attention(width)
        self.drop = nn.Dropout(drop_rate)
        self.head = Scores(width, stride, num_classes, parts)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.head(self.drop(self.attention(self.conv(x))), size)


class Scores(nn.Module):
    """A 1x1 convolution and upsampling: a feature map at `stride` -> logits (N, num_classes, H, W) of `size` (H, W).

    By default the scores are resized bilinearly; `upsample=` enlarges them `stride` times instead, and they are
    cropped.
    """

    def __init__(self, channels: int, stride: int, num_classes: int, parts: Parts) -> None:
        super().__init__()
        self.conv = conv2d(channels, num_classes, 1)
        self.up = parts.upsample(num_classes, stride) if parts.chosen("upsample") else None

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.conv(x)
        if self.up is None:
            return F.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.up(x)[:, :, : size[0], : size[1]]


@MODELS.register("fcn", source="arXiv:1411.4038; torchvision's fcn_resnet50", **REGISTRATION)
def fcn(
    *,
    num_classes: int,
    parts: Parts,
    backbone: Backbone,
    output_stride: Literal[8, 16, 32] = 8,
    auxiliary: bool = True,
    drop_rate: BelowOne = 0.1,
) -> DilatedSegmenter:
    """FCN of torchvision: a dilated ResNet-50, and a head of a 3x3 convolution, dropout and scores

    `output_stride`: that of the last feature map, by dilation. `auxiliary`: in training a second head, on the stage
    before the last, whose loss counts half. The ResNet-50 has its 7x7 stem on small images too; for a backbone that you
    name, backbone.stem decides.
    """

    def decoder(channels: int, stride: int) -> nn.Module:
        return FCNHead(channels, stride, num_classes, parts, drop_rate)

    return DilatedSegmenter(num_classes=num_classes, backbone=backbone, parts=parts, output_stride=output_stride,
                            auxiliary=auxiliary, decoder=decoder)  # fmt: skip
