"""Faster R-CNN: a region proposal network, and a second stage that classifies and refines its proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from dlzoo.boxes.codecs import delta_decode, delta_encode
from dlzoo.boxes.objects import MatchedTargets, objects
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import BelowOne, Positive, PositiveInt
from dlzoo.layers.neck import NoNeck
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.tasks.detection.matcher import match_anchors
from dlzoo.tasks.detection.models.anchor_head import lateral_convs, probabilities
from dlzoo.tasks.detection.models.detector import PARTS, Detector
from dlzoo.tasks.detection.models.roi import Pooling, RoiHead
from dlzoo.tasks.detection.models.rpn import ProposalNetwork, Proposals, image_box, sample, take_rows

#: Strides of the levels of a pyramid, and of the only feature map without one.
PYRAMID, SINGLE = (4, 8, 16, 32), (16,)

#: Factors of the offsets of the second stage (in the code of arXiv:1504.08083).
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


class Raw(NamedTuple):
    """Input of the second stage: feature maps of one width, fine to coarse, proposals, and images' (height, width)."""

    features: list[Tensor]
    proposed: Proposals
    size: tuple[int, int]


class FasterRCNN(Detector):
    """Images (N, C, H, W) -> feature maps and proposals (figure 2).

    `forward` is the first stage only, as training adds the boxes of objects to the proposals before the second. On the
    meta device, where costs are counted, it also runs the second stage, on as many boxes as in training.

    Args:
        strides: strides of the feature maps.
        sizes: sides of the anchors of each level of the first stage; a pyramid has one level more than feature maps.
        width: channels of the feature maps if the neck returns different ones.
        rois: boxes of an image that the second stage is trained on.
    """

    def __init__(
        self,
        backbone: Backbone,
        parts: Parts,
        *,
        strides: Sequence[int],
        sizes: Sequence[tuple[float, ...]],
        num_classes: int,
        softmax_classes: bool,
        width: int,
        proposals: int,
        rois: int,
        pooling: Pooling,
        hidden: tuple[int, ...],
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.softmax_classes = backbone, num_classes, softmax_classes
        self.neck = parts.neck(backbone.select(strides, parts))
        self.laterals, width = lateral_convs(self.neck.out_channels, width)
        self.coarser = len(sizes) > len(strides)
        proposing = [*strides, 2 * strides[-1]] if self.coarser else strides
        self.proposer = ProposalNetwork(width, proposing, sizes, parts, proposals=proposals)
        self.sampler = BalancedPositiveNegativeSampler(rois, 0.25)
        self.roi = RoiHead(
            width,
            strides,
            parts,
            num_scores=num_classes + 1 if softmax_classes else num_classes,
            pooling=pooling,
            hidden=hidden,
            drop_rate=drop_rate,
        )

    def forward(self, images: Tensor) -> Raw:
        features = self.neck(self.backbone(images))
        features = [lateral(level) for lateral, level in zip(self.laterals, features, strict=True)]
        size = (images.shape[2], images.shape[3])
        # Subsampled by 2, a coarser level for the largest anchors (arXiv:1612.03144, section 4.1).
        coarser = [F.max_pool2d(features[-1], 1, 2)] if self.coarser else []
        proposed = self.proposer([*features, *coarser], size)
        if images.is_meta:
            self.roi(features, list(proposed.boxes[:, : self.sampler.batch_size_per_image]), size)
        return Raw(features, proposed, size)

    def match_targets(self, raw: Raw, labels: Tensor) -> list[MatchedTargets]:
        return [self.proposer.match_targets(raw.proposed, labels), self._inside(raw, labels)]

    def count_matches(self, raw: Raw, labels: Tensor) -> Tensor:
        rois = torch.full((), torch.nan, device=labels.device)  # depends on the proposals of the images themselves
        return torch.stack([self.proposer.count_samples(raw.proposed, labels).float(), rois])

    def _inside(self, raw: Raw, labels: Tensor) -> MatchedTargets:
        """Match the second stage's outputs for a sample of the proposals and the objects' own boxes."""
        candidates, allowed = _add_objects(raw, labels)
        assignment = match_anchors(candidates, labels, low=0.5, high=0.5)
        rows, weights = sample(self.sampler, assignment, allowed)
        sampled = (candidates, assignment.boxes, assignment.positive)
        boxes, targets, positive = (take_rows(values, rows) for values in sampled)
        classes = torch.where(positive, take_rows(assignment.classes, rows), self.num_classes).flatten()
        features = [level.float() for level in raw.features]
        scores, deltas = (output.float() for output in self.roi(features, list(boxes), raw.size))
        columns = classes.clamp(max=self.num_classes - 1)
        offsets = deltas.take_along_dim(columns[:, None, None], 1).squeeze(1)
        boxes, targets = boxes.flatten(0, 1), targets.flatten(0, 1)
        return MatchedTargets(
            boxes=delta_decode(offsets, boxes, WEIGHTS),
            box_targets=targets,
            offsets=offsets,
            offset_targets=delta_encode(targets, boxes, WEIGHTS),
            box_weights=(weights * positive).flatten(),
            scores=scores,
            classes=classes,
            class_weights=weights.flatten(),
            matched=weights.sum(),
        )

    def candidates(self, raw: Raw) -> tuple[Tensor, Tensor]:
        boxes, scores = [], []
        # Image by image: the pooled features of a thousand boxes take 50 MB.
        for image, (proposals, there) in enumerate(zip(raw.proposed.boxes, raw.proposed.there, strict=True)):
            features = [level[image : image + 1].float() for level in raw.features]
            logits, deltas = (output.float() for output in self.roi(features, [proposals], raw.size))
            boxes.append(delta_decode(deltas[:, : self.num_classes], proposals[:, None], WEIGHTS))
            likely = probabilities(logits, self.num_classes, softmax_classes=self.softmax_classes)
            scores.append(torch.where(there[:, None], likely, 0))
        return torch.stack(boxes), torch.stack(scores)


def _add_objects(raw: Raw, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return proposals and objects as boxes (N, P + M, 4), and a mask (N, P + M) of those to train on."""
    boxes, _, there, difficult = objects(labels)
    trained_on = there & ~difficult & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    boxes = torch.where(trained_on[..., None], boxes, image_box(raw.size, boxes))
    return torch.cat((raw.proposed.boxes, boxes), 1), torch.cat((raw.proposed.there, trained_on), 1)


@MODELS.register(
    "faster_rcnn",
    source="arXiv:1506.01497, figure 2; with a pyramid arXiv:1612.03144, section 4",
    backbone="resnet50",
    neck={"name": "fpn", "plain": True},
    loss="cross_entropy",
    box_loss="smooth_l1",
    nms={"name": "nms", "iou": 0.5},
    **PARTS,
)
def faster_rcnn(
    *,
    num_classes: int,
    image_size: int,
    parts: Parts,
    backbone: Backbone,
    softmax_classes: bool,
    anchors: tuple[Positive, ...] | None = None,
    proposals: PositiveInt = 1000,
    rois: PositiveInt = 512,
    roi: Pooling | None = None,
    width: PositiveInt = 256,
    hidden: tuple[PositiveInt, ...] | None = None,
    drop_rate: BelowOne | None = None,
) -> FasterRCNN:
    """Faster R-CNN: a region proposal network, and a second stage that classifies and refines its proposals

    With neck=none and backbone=vgg16 it is the paper's, on one feature map of stride 16. `anchors`: their sides in
    pixels, for a pyramid one for each of five levels; null is 32, 64, ... 512, and without a pyramid 128, 256 and 512
    for images of 600 px. `proposals`: number for an image, in training twice as many, of which `rois` are trained on.
    `roi`: null is align, without a pyramid pool. `width`: channels of the feature maps if the neck returns different
    ones. `hidden`: widths of the fully connected layers, null is two of 1024, without a pyramid two of 4096;
    `drop_rate` after each, null is 0, without a pyramid 0.5.

    Raises:
        UserError: for too few or too many anchors, and for RoI pooling of a pyramid.
    """
    # The strides must be known before the channels of the neck's input are.
    single = isinstance(parts.neck((1,)), NoNeck)
    strides = SINGLE if single else PYRAMID
    return FasterRCNN(
        backbone,
        parts,
        strides=strides,
        sizes=_sizes(anchors, image_size, single=single),
        num_classes=num_classes,
        softmax_classes=softmax_classes,
        width=width,
        proposals=proposals,
        rois=rois,
        pooling=roi or ("pool" if single else "align"),
        hidden=hidden if hidden is not None else (4096 if single else 1024,) * 2,
        drop_rate=drop_rate if drop_rate is not None else (0.5 if single else 0.0),
    )


def _sizes(anchors: tuple[float, ...] | None, image_size: int, *, single: bool) -> list[tuple[float, ...]]:
    """Return the sides of the anchors of each level of the first stage, in pixels.

    Raises:
        UserError: if there is not one for each level, or none.
    """
    if single:
        sizes = anchors if anchors is not None else tuple(size * image_size / 600 for size in (128, 256, 512))
        if not sizes:
            raise UserError("model.anchors=[] is empty; set at least one side, in pixels")
        return [sizes]
    sizes = anchors if anchors is not None else (32, 64, 128, 256, 512)
    if len(sizes) != len(PYRAMID) + 1:
        raise UserError(f"model.anchors takes {len(PYRAMID) + 1} sides, one for each feature map, not {len(sizes)}")
    return [(size,) for size in sizes]
