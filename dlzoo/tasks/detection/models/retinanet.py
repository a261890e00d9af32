"""RetinaNet: anchors on a feature pyramid, and two subnets shared by all its levels."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Bounds, Depth, Fraction, Size
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

#: Strides of P3 to P5, from the backbone, and of P6 and P7.
STRIDES = (8, 16, 32, 64, 128)

#: Number of sizes of anchors of each ratio (section 4).
_SIZES = 3

_Probability = Annotated[float, Bounds(exclusiveMinimum=0, exclusiveMaximum=1)]
_Scale = Annotated[float, Bounds(minimum=1)]


class RetinaNet(OneStage):
    """Images (N, C, H, W) -> offsets and scores of nine anchors for each cell of P3 to P7 (figure 3).

    P6 is a 3x3 convolution of P5 with stride 2, as in torchvision (in the paper of C5), P7 one of P6 after an
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
        """Set biases so that each class has the probability `prior`, or all together with softmax (section 4.1)."""
        bias = self.head.bias
        assert bias is not None
        odds = math.log((1 - prior) / prior)
        with torch.no_grad():
            if self.softmax_classes:
                bias.view(-1, self.num_scores)[:, -1] = odds + math.log(self.num_classes)
            else:
                bias.fill_(-odds)

    def forward(self, images: Tensor) -> HeadOutputs:
        features = self.neck(self.backbone(images))
        features = [lateral(level) for lateral, level in zip(self.laterals, features, strict=True)]
        features.append(self.p6(features[-1]))
        features.append(self.p7(self.act(features[-1])))
        return HeadOutputs(
            offsets=flatten_by_anchor([self.offsets(self.offset_tower(level)) for level in features], 4),
            scores=flatten_by_anchor([self.head(self.score_tower(level)) for level in features], self.num_scores),
            priors=anchors(self.generator, features, STRIDES),
        )

    def assigned(self, priors: Tensor, labels: Tensor) -> Assignment:
        low, high = self.thresholds
        return match_anchors(priors, labels, low=low, high=high, rescue="ties")

    def class_weights(self, scores: Tensor, assignment: Assignment) -> Tensor:
        """Return 1 for all anchors that are not ignored: focal loss down-weights easy ones (section 3)."""
        return (assignment.positive | assignment.negative).float()


def tower(width: int, parts: Parts, *, depth: int, norm: bool) -> nn.Sequential:
    """Return `depth` 3x3 convolutions and attention, to precede a prediction: (N, width, H, W) -> same (section 4)."""
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
    width: Size = 256,
    depth: Depth = 4,
    head_norm: bool = False,
    anchor_scale: _Scale = 4.0,
    high: Fraction = 0.5,
    low: Fraction = 0.4,
    prior: _Probability = 0.01,
) -> RetinaNet:
    """RetinaNet: nine anchors for each cell of five feature maps, a subnet for classes and one for boxes

    `width`: channels of the feature maps if the neck returns different ones. `depth`: convolutions before each
    prediction; `head_norm` adds the norm to them, P6 and P7, unlike the paper. `anchor_scale`: sides of the smallest
    anchors of a level, in strides. An anchor is positive at an IoU of `high` or more, background below `low`. `prior`:
    initial probability of an object at an anchor, for each class if the classes are independent.

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
