"""RetinaNet: anchors on a feature pyramid, and two small networks that all its levels share."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Bounds, Fraction, PositiveInt
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.detection.matcher import Assignment, match_anchors
from dlzoo.tasks.detection.models.anchor_head import (
    RATIOS,
    HeadOutputs,
    OneStage,
    Prediction,
    anchors,
    flatten_by_anchor,
    lateral_convs,
)
from dlzoo.tasks.detection.models.detector import PARTS

#: Of P3 to P5, which the backbone has, and of P6 and P7.
STRIDES = (8, 16, 32, 64, 128)

#: Sizes of anchors of each ratio (section 4).
_SIZES = 3

_Probability = Annotated[float, Bounds(exclusiveMinimum=0, exclusiveMaximum=1)]
_Scale = Annotated[float, Bounds(minimum=1)]


class RetinaNet(OneStage):
    """Images (N, C, H, W) -> offsets and scores of nine anchors a place of P3 to P7 (figure 3).

    P6 comes from P5 by a 3x3 convolution with stride 2, as in torchvision (the paper takes C5), P7 from P6 after an
    activation.
    """

    def __init__(
        self,
        backbone: Backbone,
        parts: Parts,
        *,
        num_classes: int,
        softmax_classes: bool,
        width: int,
        depth: int,
        head_norm: bool,
        anchor_scale: float,
        thresholds: tuple[float, float],
        prior: float,
    ) -> None:
        super().__init__(num_classes=num_classes, softmax_classes=softmax_classes, weights=(1.0, 1.0, 1.0, 1.0))
        self.backbone, self.thresholds = backbone, thresholds
        self.neck = parts.neck(backbone.select(STRIDES[:3], parts))
        self.laterals, width = lateral_convs(self.neck.out_channels, width)
        settings = {"stride": 2, "norm": head_norm, "act": False}
        self.p6 = ConvNormAct(width, width, 3, parts, **settings)
        self.act = parts.act()
        self.p7 = ConvNormAct(width, width, 3, parts, **settings)
        priors = _SIZES * len(RATIOS)
        self.offset_tower = tower(width, parts, depth=depth, norm=head_norm)
        self.offsets = Prediction(width, 4 * priors, 3)
        self.score_tower = tower(width, parts, depth=depth, norm=head_norm)
        self.head = Prediction(width, self.num_scores * priors, 3)
        self._start(prior)
        sizes = [tuple(int(anchor_scale * s * 2 ** (octave / 3)) for octave in range(_SIZES)) for s in STRIDES]
        self.generator = AnchorGenerator(tuple(sizes), (RATIOS,) * len(STRIDES))

    def _start(self, prior: float) -> None:
        """Each class has the probability `prior` at first, together where they exclude each other (section 4.1)."""
        bias = self.head.bias
        assert bias is not None
        odds = math.log((1 - prior) / prior)
        with torch.no_grad():
            if self.softmax_classes:
                bias.view(-1, self.num_scores)[:, -1] = odds + math.log(self.num_classes)
            else:
                bias.fill_(-odds)

    def forward(self, images: Tensor) -> HeadOutputs:
        maps = self.neck(self.backbone(images))
        maps = [lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)]
        maps.append(self.p6(maps[-1]))
        maps.append(self.p7(self.act(maps[-1])))
        return HeadOutputs(
            offsets=flatten_by_anchor([self.offsets(self.offset_tower(level)) for level in maps], 4),
            scores=flatten_by_anchor([self.head(self.score_tower(level)) for level in maps], self.num_scores),
            priors=anchors(self.generator, maps, STRIDES),
        )

    def assigned(self, priors: Tensor, labels: Tensor) -> Assignment:
        low, high = self.thresholds
        return match_anchors(priors, labels, low=low, high=high, rescue="ties")

    def class_weights(self, scores: Tensor, assignment: Assignment) -> Tensor:
        """All that are not ignored: an easy one has a small loss (section 3)."""
        return (assignment.positive | assignment.negative).float()


def tower(width: int, parts: Parts, *, depth: int, norm: bool) -> nn.Sequential:
    """`depth` 3x3 convolutions and attention, before one that says something: (N, width, H, W) -> same (section 4)."""
    layers = [ConvNormAct(width, width, 3, parts, norm=norm, drop=True) for _ in range(depth)]
    return nn.Sequential(*layers, parts.attention(width))


@MODELS.register(
    "retinanet",
    source="arXiv:1708.02002, figure 3",
    backbone="resnet50",
    neck={"name": "fpn", "plain": True},
    loss={"name": "focal", "form": "sigmoid", "alpha": 0.25},
    box_loss="smooth_l1",
    nms={"name": "nms", "iou": 0.5},
    **PARTS,
)
def retinanet(
    *,
    num_classes: int,
    parts: Parts,
    backbone: Backbone,
    softmax_classes: bool,
    width: PositiveInt = 256,
    depth: PositiveInt = 4,
    head_norm: bool = False,
    anchor_scale: _Scale = 4.0,
    high: Fraction = 0.5,
    low: Fraction = 0.4,
    prior: _Probability = 0.01,
) -> RetinaNet:
    """RetinaNet: nine anchors a place of five maps, a small network for classes and one for boxes

    `width`: channels of the maps where the neck gives different ones. `depth`: convolutions before each answer;
    `head_norm` gives them, P6 and P7 the norm, which the paper's do not have. `anchor_scale`: sides of the smallest
    anchors of a map, in strides. From an IoU of `high` on an anchor is an object's, below `low` it is background.
    `prior`: how probable an untrained network finds an object at an anchor, of each class where they are independent.

    Raises:
        UserError: if `low` is above `high`.
    """
    if low > high:
        raise UserError(f"model.low={low:g} must be at most model.high={high:g}")
    return RetinaNet(
        backbone,
        parts,
        num_classes=num_classes,
        softmax_classes=softmax_classes,
        width=width,
        depth=depth,
        head_norm=head_norm,
        anchor_scale=anchor_scale,
        thresholds=(low, high),
        prior=prior,
    )
