"""FCN-32s, FCN-16s and FCN-8s: a classifier as a fully convolutional network, and scores of finer feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne, Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.convs import conv2d
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.segmentation.models.segmenter import BackboneSegmenter

#: Model -> how many feature maps it scores.
_MAPS = {"fcn32": 1, "fcn16": 2, "fcn8": 3}


class FCN(BackboneSegmenter):
    """Fully convolutional network (arXiv:1411.4038, figure 3): 32s with one map, 16s with two, 8s with three.

    The coarsest feature maps of the backbone are used, of VGG the outputs of pool5, pool4 and pool3. A 7x7 and a 1x1
    convolution follow the coarsest, VGG's fully connected layers. The 7x7 keeps the size of the feature map, where the
    paper pads the image by 100 pixels and crops the scores.
    """

    def __init__(
        self, *, num_classes: int, backbone: Backbone, parts: Parts, maps: int, width: int, drop_rate: float
    ) -> None:
        super().__init__()
        strides = backbone.strides()
        if len(strides) < maps + backbone.pools_stages:
            raise UserError(f"the backbone has feature maps at strides {', '.join(map(str, strides))} only, and"
                            f" {maps} of them are scored; choose another, such as resnet18")  # fmt: skip
        used = strides[-maps:]
        # A feature map before its pooling has half the stride of the one after it.
        pooled = backbone.pools_stages and maps > 1
        selected = [*strides[-maps - 1 : -2], strides[-1]] if pooled else used
        *finer, coarse = backbone.select(selected, parts)
        self.backbone, self.stride = backbone, used[-1]
        self.pools = nn.ModuleList(parts.pool(channels) if pooled else nn.Identity() for channels in finer)
        self.decoder = nn.Sequential(
            ConvNormAct(coarse, width, 7, parts, drop=True),
            nn.Dropout(drop_rate),
            ConvNormAct(width, width, 1, parts, drop=True),
            nn.Dropout(drop_rate),
            parts.attention(width),
        )
        self.head = Fusion([width, *reversed(finer)], used[::-1], num_classes, parts)

    def logits(self, images: Tensor) -> tuple[Tensor, Sequence[Tensor], float]:
        *finer, coarse = self.backbone(images)
        finer = [pool(x) for pool, x in zip(self.pools, finer, strict=True)]
        return self.head([self.decoder(coarse), *reversed(finer)]), (), 0.0


class Fusion(nn.Module):
    """Scores of feature maps, coarse to fine, upsampled and added one after another: -> (N, num_classes, H, W).

    `channels` and `strides` are those of the feature maps (section 4.2).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, parts: Parts) -> None:
        super().__init__()
        self.scores = nn.ModuleList(conv2d(each, num_classes, 1) for each in channels)
        factors = [coarse // fine for coarse, fine in pairwise([*strides, 1])]
        self.ups = nn.ModuleList(parts.upsample(num_classes, factor) for factor in factors)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        first, *others = [score(x) for score, x in zip(self.scores, maps, strict=True)]
        x = first
        for up, finer in zip(self.ups, others, strict=False):
            x = up(x) + finer
        return self.ups[-1](x)


def fcn(
    maps: int,
    /,
    *,
    num_classes: int,
    parts: Parts,
    backbone: Backbone,
    width: Size = 4096,
    drop_rate: BelowOne = 0.5,
) -> FCN:
    """A fully convolutional classifier, and scores of its coarsest maps: of one (fcn32), two (fcn16) or three (fcn8)

    `width` and `drop_rate`: of the 7x7 and the 1x1 convolution that were VGG's fully connected layers. Upsampling is
    learnt and starts as bilinear, as in the paper, with a kernel for each class.
    """
    return FCN(num_classes=num_classes, backbone=backbone, parts=parts, maps=maps, width=width, drop_rate=drop_rate)


def _register() -> None:
    """Register figure 3, one line each."""
    parts = {"norm": "none", "act": "relu", "init": "he", "conv": "standard", "attention": "none"}
    parts |= {"pool": "max", "drop": "none", "upsample": "transposed"}
    for name, maps in _MAPS.items():
        MODELS.register(name, source="arXiv:1411.4038, figure 3", tasks=("segment",), backbone="vgg16", **parts)(
            partial(fcn, maps)
        )


_register()
