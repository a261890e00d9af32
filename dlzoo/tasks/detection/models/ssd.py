"""SSD: default boxes on six feature maps of a classifier with extra layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Fraction, Positive, Size
from dlzoo.layers.conv import ConvNormAct, NormAct, needs_bias
from dlzoo.layers.convs import conv2d
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.detection.matcher import Assignment, match_anchors
from dlzoo.tasks.detection.models.anchor_head import HeadOutputs, OneStage, Prediction, flatten_by_anchor
from dlzoo.tasks.detection.models.detector import PARTS

#: Strides of the feature maps that halve, in pixels; the last two feature maps divide the image evenly.
STRIDES = (8, 16, 32, 64)

#: Aspect ratios of each feature map's default boxes beside 1; each also inverted (section 2.2).
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))

#: Default boxes for each cell of each feature map: two squares, and two of each ratio.
PRIORS = tuple(2 + 2 * len(ratios) for ratios in RATIOS)

#: The scales of the authors for COCO, and of torchvision; for VOC 0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05.
_SCALES = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)


class SSD(OneStage):
    """Images (N, C, H, W) -> offsets and scores of 8,732 default boxes (of 300 px), fine to coarse (figure 2).

    The feature maps: the backbone's at stride 8, L2-normalised with a learnt scale; at stride 16 its fully connected
    layers as convolutions; then two convolutions for each, the last ones without padding.
    """

    shapes: Tensor

    def __init__(
        self,
        backbone: Backbone,
        parts: Parts,
        *,
        num_classes: int,
        softmax_classes: bool,
        width: int,
        scales: tuple[float, ...],
        iou: float,
        negatives: float | None,
    ) -> None:
        super().__init__(num_classes=num_classes, softmax_classes=softmax_classes, weights=(10.0, 10.0, 5.0, 5.0))
        self.backbone, self.iou, self.negatives = backbone, iou, negatives
        fine, coarse = backbone.select(STRIDES[:2], parts)
        self.rescale = Rescale(fine)
        self.extra = nn.ModuleList([_dilated_convs(coarse, width, parts)])
        widths = [width, width // 2, width // 4, width // 4, width // 4]
        for (before, after), valid in zip(pairwise(widths), (False, False, True, True), strict=True):
            self.extra.append(ExtraLayers(before, after, parts, valid=valid))
        self.neck = parts.neck([fine, *widths[:3]])
        channels = [*self.neck.out_channels, *widths[3:]]
        predict = partial(Prediction, kernel_size=3, fill=nn.init.xavier_uniform_)
        self.offsets = nn.ModuleList(predict(c, 4 * p) for c, p in zip(channels, PRIORS, strict=True))
        self.head = nn.ModuleList(predict(c, self.num_scores * p) for c, p in zip(channels, PRIORS, strict=True))
        self.register_buffer("shapes", default_shapes(scales), persistent=False)

    def forward(self, images: Tensor) -> HeadOutputs:
        fine, x = self.backbone(images)
        features = [self.rescale(fine)]
        for layers in self.extra:
            x = layers(x)
            features.append(x)
        features = [*self.neck(features[: len(STRIDES)]), *features[len(STRIDES) :]]
        offsets = [layer(level) for layer, level in zip(self.offsets, features, strict=True)]
        scores = [layer(level) for layer, level in zip(self.head, features, strict=True)]
        sides = [(level.shape[2], level.shape[3]) for level in features]
        priors = default_boxes(self.shapes, sides, (images.shape[2], images.shape[3]))
        return HeadOutputs(flatten_by_anchor(offsets, 4), flatten_by_anchor(scores, self.num_scores), priors)

    def assigned(self, priors: Tensor, labels: Tensor) -> Assignment:
        return match_anchors(priors, labels, low=self.iou, high=self.iou, rescue="one")

    def class_weights(self, scores: Tensor, assignment: Assignment) -> Tensor:
        """Select positive priors, and for each a number of the hardest negative ones (section 2.2)."""
        if self.negatives is None:
            return (assignment.positive | assignment.negative).float()
        background_loss = -scores.log_softmax(-1)[..., -1] if self.softmax_classes else F.softplus(scores).sum(-1)
        background_loss = background_loss.masked_fill(~assignment.negative, float("-inf"))
        order = background_loss.argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(1)
        limit = self.negatives * assignment.positive.sum(1, keepdim=True)
        return (assignment.positive | (assignment.negative & (rank < limit))).float()


class Rescale(nn.Module):
    """L2 normalisation over channels with a learnt scale for each: (N, C, H, W) -> same (section 3.1).

    Features of early layers are large compared with later ones (arXiv:1506.04579, section 3.3).
    """

    def __init__(self, channels: int, length: float = 20) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), float(length)))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale[:, None, None] * F.normalize(x.float())


class ExtraLayers(nn.Module):
    """Convolutions 1x1 to half the width, then 3x3 with stride 2, or `valid`: without padding and with stride 1.

    A feature map smaller than the kernel is padded with zeros, so that small images have all six feature maps.
    """

    def __init__(self, in_channels: int, width: int, parts: Parts, *, valid: bool) -> None:
        super().__init__()
        self.valid = valid
        self.reduce = ConvNormAct(in_channels, width // 2, 1, parts, drop=True)
        settings: dict[str, Any] = {"padding": 0} if valid else {"stride": 2}
        self.conv = ConvNormAct(width // 2, width, 3, parts, drop=True, **settings)
        self.attention = parts.attention(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        if self.valid:
            height, width = (max(0, 3 - side) for side in x.shape[-2:])
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self.attention(self.conv(x))


def _dilated_convs(in_channels: int, width: int, parts: Parts) -> nn.Module:
    """Return pool5, fc6 and fc7 of VGG as convolutions: (N, in_channels, H, W) -> (N, width, H, W) (section 3)."""
    after = NormAct(width, parts, drop=True)
    return nn.Sequential(
        parts.pool(in_channels, 3, stride=1, padding=1),
        conv2d(in_channels, width, 3, dilation=6, bias=needs_bias(after.norm)),
        after,
        ConvNormAct(width, width, 1, parts, drop=True),
        parts.attention(width),
    )


def default_shapes(scales: Sequence[float]) -> Tensor:
    """Return sizes of the default boxes of a cell of each map, as shares of the image: (30, 2) (section 2.2)."""
    shapes = []
    for (scale, following), ratios in zip(pairwise(scales), RATIOS, strict=True):
        shapes += [(scale, scale), (sqrt(scale * following),) * 2]
        for ratio in ratios:
            shapes += [(scale * sqrt(ratio), scale / sqrt(ratio)), (scale / sqrt(ratio), scale * sqrt(ratio))]
    return torch.tensor(shapes).clamp(max=1)


def default_boxes(shapes: Tensor, sides: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """Return boxes (A, 4) in pixels for images of `size` (height, width): `shapes` at each cell of maps of `sides`."""
    boxes = []
    for level, (shape, (rows, columns)) in enumerate(zip(shapes.split(PRIORS), sides, strict=True)):
        across, down = (STRIDES[level],) * 2 if level < len(STRIDES) else (size[1] / columns, size[0] / rows)
        x = (torch.arange(columns, device=shapes.device) + 0.5) * across
        y = (torch.arange(rows, device=shapes.device) + 0.5) * down
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[:, :, None]
        halves = torch.stack((shape[:, 0] * size[1], shape[:, 1] * size[0]), -1) / 2
        boxes.append(torch.cat((centres - halves, centres + halves), -1).flatten(0, 2))
    return torch.cat(boxes)


@MODELS.register(
    "ssd300",
    source="arXiv:1512.02325, figure 2",
    backbone="vgg16",
    neck="none",
    loss="cross_entropy",
    box_loss="smooth_l1",
    nms={"name": "nms", "iou": 0.45},
    **PARTS | {"norm": "none"},
)
def ssd300(
    *,
    num_classes: int,
    parts: Parts,
    backbone: Backbone,
    softmax_classes: bool,
    width: Size = 1024,
    scales: tuple[Positive, ...] = _SCALES,
    iou: Fraction = 0.5,
    negatives: Positive | None = 3.0,
) -> SSD:
    """SSD: default boxes on six feature maps, the finest at stride 8, trained with hard negative mining

    `width`: channels of the convolutions that were fully connected; the feature maps after them have a half and
    quarters of it. `scales`: sides of the default boxes of each feature map, as shares of the image, and one more
    (those of the paper for COCO). `iou`: a default box is positive at this IoU or more. `negatives`: number of negative
    boxes for each positive one; null is all of them.

    Raises:
        UserError: for a wrong number of scales, and a width that cannot be halved three times.
    """
    if len(scales) != len(RATIOS) + 1:
        raise UserError(
            f"model.scales takes {len(RATIOS) + 1} numbers, one for each feature map and one more, not {len(scales)}"
        )
    if width % 8:
        raise UserError(f"model.width={width} must be a multiple of 8")
    return SSD(
        backbone,
        parts,
        num_classes=num_classes,
        softmax_classes=softmax_classes,
        width=width,
        scales=scales,
        iou=iou,
        negatives=negatives,
    )
