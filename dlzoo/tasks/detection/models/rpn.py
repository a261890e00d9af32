"""The first stage of Faster R-CNN: the region proposal network, which proposes boxes of objects of any class.

Anchors, sampling and the filtering of proposals are torchvision's. These synchronise with the GPU to count boxes, in
forward and in the matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork

from dlzoo.boxes.codecs import delta_decode, delta_encode
from dlzoo.boxes.objects import MatchedTargets
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.tasks.detection.matcher import Assignment, match_anchors
from dlzoo.tasks.detection.models.anchor_head import RATIOS, Prediction, anchors, flatten_by_anchor


class Proposals(NamedTuple):
    """Outputs of the first stage for A anchors, and P proposals made from them.

    Attributes:
        objectness: (N, A) logits.
        offsets: (N, A, 4).
        anchors: (A, 4) in pixels.
        boxes: (N, P, 4) in pixels, best first; P is the largest number of proposals of an image.
        there: (N, P) bool; padding has the box of the image.
    """

    objectness: Tensor
    offsets: Tensor
    anchors: Tensor
    boxes: Tensor
    there: Tensor


class ProposalNetwork(nn.Module):
    """Feature maps of one width, fine to coarse, and the images' (height, width) -> Proposals.

    Args:
        width: channels of the feature maps.
        strides: strides of the feature maps, in pixels.
        sizes: sides of the anchors of each feature map, in pixels.
        proposals: number of proposals to keep for an image, in training twice as many.
    """

    def __init__(
        self, width: int, strides: Sequence[int], sizes: Sequence[tuple[float, ...]], parts: Parts, *, proposals: int
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        kept = {"training": 2 * proposals, "testing": proposals}
        # Not inside `network`, whose name for it is "head": that name is kept for layers as wide as the classes.
        self.answers = ProposalHead(width, len(RATIOS) * len(sizes[0]), parts)
        self.network = RegionProposalNetwork(
            AnchorGenerator(tuple(sizes), (RATIOS,) * len(sizes)),
            nn.Identity(),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n=kept,
            post_nms_top_n=kept,
            nms_thresh=0.7,
        )

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Proposals:
        objectness, offsets = self.answers(features)
        counts = [level[0].numel() for level in objectness]
        logits, deltas = flatten_by_anchor(objectness, 1).squeeze(-1), flatten_by_anchor(offsets, 4)
        priors = anchors(self.network.anchor_generator, features, self.strides)
        with torch.no_grad():
            boxes, there = self._proposals(logits.float(), delta_decode(deltas.float(), priors), size, counts)
        return Proposals(logits, deltas, priors, boxes, there)

    def _proposals(
        self, objectness: Tensor, boxes: Tensor, size: tuple[int, int], counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the boxes (N, P, 4) of the proposals after suppression, and a mask (N, P) of those that are one."""
        if objectness.is_meta:  # the number of proposals is unknown without data
            boxes = boxes[:, : self.network.post_nms_top_n()]
            return boxes, torch.ones_like(boxes[..., 0], dtype=torch.bool)
        kept, _ = self.network.filter_proposals(boxes, objectness, [size] * len(boxes), counts)
        most = max([len(rows) for rows in kept] + [1])
        padded = image_box(size, boxes).repeat(len(boxes), most, 1)
        for place, rows in zip(padded, kept, strict=True):
            place[: len(rows)] = rows
        numbers = torch.arange(most, device=boxes.device)
        return padded, torch.stack([numbers < len(rows) for rows in kept])

    def match_targets(self, proposals: Proposals, labels: Tensor) -> MatchedTargets:
        """Sample 256 anchors of each image, at most half of them positive (section 3.1.3); they have no class."""
        assignment = self._assign(proposals, labels)
        rows, weights = sample(self.network.fg_bg_sampler, assignment, torch.ones_like(assignment.positive))
        offsets, priors = take_rows(proposals.offsets.float(), rows), proposals.anchors[rows]
        targets, positive = take_rows(assignment.boxes, rows), take_rows(assignment.positive, rows).float()
        return MatchedTargets(
            boxes=delta_decode(offsets, priors).flatten(0, 1),
            box_targets=targets.flatten(0, 1),
            offsets=offsets.flatten(0, 1),
            offset_targets=delta_encode(targets, priors).flatten(0, 1),
            box_weights=(weights * positive).flatten(),
            objectness=take_rows(proposals.objectness.float(), rows).flatten(),
            objectness_targets=positive.flatten(),
            objectness_weights=weights.flatten(),
            matched=weights.sum(),
        )

    def count_samples(self, proposals: Proposals, labels: Tensor) -> Tensor:
        """Return the number of anchors that `match_targets` samples for `labels` (N, M, 6): ()."""
        assignment, sampler = self._assign(proposals, labels), self.network.fg_bg_sampler
        size = sampler.batch_size_per_image
        positive = assignment.positive.sum(1).clamp(max=int(size * sampler.positive_fraction))
        return (positive + torch.minimum(assignment.negative.sum(1), size - positive)).sum()

    def _assign(self, proposals: Proposals, labels: Tensor) -> Assignment:
        bounds = self.network.proposal_matcher
        low, high = bounds.low_threshold, bounds.high_threshold
        return match_anchors(proposals.anchors, labels, low=low, high=high, rescue="ties")


class ProposalHead(nn.Module):
    """Feature maps -> objectness (N, P, H, W) and offsets (N, 4 P, H, W) of each, P anchors a cell (figure 3, left)."""

    def __init__(self, width: int, priors: int, parts: Parts) -> None:
        super().__init__()
        self.conv = ConvNormAct(width, width, 3, parts, norm=False, drop=True)
        self.attention = parts.attention(width)
        self.objectness = Prediction(width, priors, 1)
        self.offsets = Prediction(width, 4 * priors, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        features = [self.attention(self.conv(level)) for level in features]
        return [self.objectness(level) for level in features], [self.offsets(level) for level in features]


def sample(sampler: BalancedPositiveNegativeSampler, assignment: Assignment, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Sample anchors among those `allowed` (N, A): return their rows (N, S) and weights (N, S), 0 or 1.

    The sampler draws from torch's global generator. S is its batch size per image, at most A; if fewer can be drawn,
    the other rows have weight 0.
    """
    labels = assignment.positive.long().masked_fill(~(allowed & (assignment.positive | assignment.negative)), -1)
    positive, negative = map(torch.stack, sampler(list(labels)))
    drawn = (positive | negative).float()
    weights, rows = drawn.topk(min(sampler.batch_size_per_image, drawn.shape[1]), dim=1)
    return rows, weights


def take_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Return the `rows` (N, S) of values (N, A, ...): (N, S, ...)."""
    return values.take_along_dim(rows.view(*rows.shape, *[1] * (values.dim() - 2)), 1)


def image_box(size: tuple[int, int], like: Tensor) -> Tensor:
    """Return the box (4,) that covers an image of (height, width)."""
    box = like.new_zeros(4)  # filled in place: copying a list to the device would synchronise
    box[2], box[3] = size[1], size[0]
    return box
