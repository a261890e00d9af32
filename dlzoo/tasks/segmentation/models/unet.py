"""U-Net, with its own encoder or with a classifier as its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Bounds, Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.convs import conv2d
from dlzoo.layers.parts import Parts
from dlzoo.layers.upsample import UpConv
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.segmentation.models.segmenter import BackboneSegmenter, Segmenter

Merge = Literal["concat", "add"]
Padding = Literal["same", "valid"]
Poolings = Annotated[int, Bounds(minimum=1, maximum=8)]

#: Strides of a backbone's feature maps that a decoder uses, where there are such, and the most channels of a block.
_STRIDES, _WIDEST = (1, 2, 4, 8, 16, 32), 256


class DoubleConv(nn.Sequential):
    """Two 3x3 convolutions, each with norm and activation, and the attention that was chosen."""

    def __init__(self, in_channels: int, out_channels: int, parts: Parts, *, valid: bool = False) -> None:
        super().__init__(
            ConvNormAct(in_channels, out_channels, 3, parts, drop=True, valid=valid),
            ConvNormAct(out_channels, out_channels, 3, parts, drop=True, valid=valid),
            parts.attention(out_channels),
        )


class Up(nn.Module):
    """Upsampling of a feature map to `out_channels` at twice its sides, merged with one of the encoder, and two convs.

    Args:
        in_channels, skip_channels: of the two feature maps; skip_channels 0: there is no second one.
        merge: concat them, or add them; to be added, the encoder's has a 1x1 convolution if its channels differ.
        valid: whether the convolutions are valid: the encoder's feature map is then cropped to its middle.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        parts: Parts,
        merge: Merge,
        *,
        valid: bool = False,
    ) -> None:
        super().__init__()
        self.up: nn.Module
        if parts.chosen("upsample"):
            self.up = nn.Sequential(parts.upsample(in_channels, 2), conv2d(in_channels, out_channels, 1))
        else:
            self.up = UpConv(in_channels, out_channels)
        self.adds = merge == "add" and skip_channels > 0
        self.skip: nn.Module = nn.Identity()
        if self.adds and skip_channels != out_channels:
            self.skip = conv2d(skip_channels, out_channels, 1)
        merged = out_channels if self.adds else out_channels + skip_channels
        self.convs = DoubleConv(merged, out_channels, parts, valid=valid)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.up(x)
        if skip is not None:
            skip_maps = self.skip(_middle(skip, x))
            x = x + skip_maps if self.adds else torch.cat((skip_maps, x), 1)
        return self.convs(x)


class UNet(Segmenter):
    """U-Net (arXiv:1505.04597, figure 1): an encoder of `depth` poolings, and a decoder with skip connections.

    `width` is the channels of the first level, which double at each pooling. With padding=valid, the paper's, an image
    of 572 px has logits of 388: images are then mirrored at their borders (figure 2), so that every pixel has a class.
    padding=same keeps the size.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        parts: Parts,
        width: int,
        depth: int,
        padding: Padding,
        merge: Merge,
    ) -> None:
        super().__init__()
        self.stride, self.depth, self.valid = 2**depth, depth, padding == "valid"
        widths = [width * 2**level for level in range(depth + 1)]
        self.margin = _margin(depth) if self.valid else 0
        before = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            DoubleConv(old, new, parts, valid=self.valid) for old, new in zip(before, widths, strict=True)
        )
        self.pools = nn.ModuleList(parts.pool(channels) for channels in widths[:-1])
        self.decoder = nn.ModuleList(
            Up(widths[level + 1], widths[level], widths[level], parts, merge, valid=self.valid)
            for level in reversed(range(depth))
        )
        self.head = conv2d(width, num_classes, 1)

    def padded(self, side: int) -> int:
        """Return the smallest side that the network takes: where valid, every pooling gets an even one."""
        if not self.valid:
            return super().padded(side)
        least = max(side, 2 * self.margin + 1)
        while not self._takes(least):
            least += 1
        return least

    def _takes(self, side: int) -> bool:
        for _ in range(self.depth):
            side -= 4
            if side < 2 or side % 2:
                return False
            side //= 2
        return side > 4

    def logits(self, images: Tensor) -> tuple[Tensor, Sequence[Tensor], float]:
        x, skips = images, []
        for block, pool in zip(self.encoder, [*self.pools, None], strict=True):
            x = block(x)
            if pool is not None:
                skips.append(x)
                x = pool(x)
        for block in self.decoder:
            x = block(x, skips.pop())
        return self.head(x), (), 0.0


class BackboneUNet(BackboneSegmenter):
    """U-Net's decoder on the feature maps of a classifier.

    A block for each stride below the coarsest one has width * stride channels, at most 256, and merges the feature map
    of that stride if the classifier has one.
    """

    def __init__(self, *, num_classes: int, backbone: Backbone, parts: Parts, width: int, merge: Merge) -> None:
        super().__init__()
        strides = [stride for stride in _STRIDES if stride in backbone.strides()]
        self.backbone, self.stride = backbone, max(strides)
        channels = dict(zip(strides, backbone.select(strides, parts), strict=True))
        below, blocks = channels[self.stride], []
        self.strides = [stride for stride in reversed(_STRIDES) if stride < self.stride]
        for stride in self.strides:
            out_channels = min(width * stride, _WIDEST)
            blocks.append(Up(below, channels.get(stride, 0), out_channels, parts, merge))
            below = out_channels
        self.skips, self.decoder = strides, nn.ModuleList(blocks)
        self.head = conv2d(below, num_classes, 1)

    def logits(self, images: Tensor) -> tuple[Tensor, Sequence[Tensor], float]:
        maps = dict(zip(self.skips, self.backbone(images), strict=True))
        x = maps[self.stride]
        for stride, block in zip(self.strides, self.decoder, strict=True):
            x = block(x, maps.get(stride))
        return self.head(x), (), 0.0


_PARTS = {"act": "relu", "conv": "standard", "attention": "none", "pool": "max", "drop": "none", "init": "he"}


@MODELS.register("unet", source="arXiv:1505.04597, figure 1", tasks=("segment",), backbone="default",
                 norm="none", upsample="default", **_PARTS)  # fmt: skip
def unet(
    *,
    num_classes: int,
    in_channels: int,
    parts: Parts,
    backbone: Backbone | None,
    width: Size = 64,
    depth: Poolings = 4,
    padding: Padding = "same",
    merge: Merge = "concat",
) -> Segmenter:
    """U-Net: `depth` poolings, channels from `width` that double at each, and skip connections that `merge`

    padding=valid is the paper's: 572 px in, 388 out; images are mirrored at their borders. upsample=default is the
    paper's up-convolution. With a backbone its stages are the encoder, and `depth` is its own.

    Raises:
        UserError: for a backbone with padding=valid.
    """
    if backbone is None:
        return UNet(num_classes=num_classes, in_channels=in_channels, parts=parts, width=width, depth=depth,
                    padding=padding, merge=merge)  # fmt: skip
    if padding == "valid":
        raise UserError("model.padding=valid is for the encoder of U-Net itself; leave out the backbone, or set"
                        " model.padding=same")  # fmt: skip
    return BackboneUNet(num_classes=num_classes, backbone=backbone, parts=parts, width=width, merge=merge)


@MODELS.register("unet_tiny", source="arXiv:1505.04597, figure 1, narrower", tasks=("segment",),
                 norm="bn", upsample="default", **_PARTS)  # fmt: skip
def unet_tiny(
    *, num_classes: int, in_channels: int, parts: Parts, width: Size = 8, depth: Poolings = 4, merge: Merge = "concat"
) -> Segmenter:
    """U-Net of `width` 8 with batch normalisation, for small images on a CPU"""
    return UNet(num_classes=num_classes, in_channels=in_channels, parts=parts, width=width, depth=depth,
                padding="same", merge=merge)  # fmt: skip


def _margin(depth: int) -> int:
    """Return the pixels that valid convolutions take from each side: 92 for four poolings."""
    lost = 4 * 2**depth + sum(8 * 2**level for level in range(depth))
    return lost // 2


def _middle(skip: Tensor, x: Tensor) -> Tensor:
    """Crop a feature map to the sides of another one, around its middle."""
    top, left = ((skip.shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
    return skip[:, :, top : top + x.shape[2], left : left + x.shape[3]] if top or left else skip
