"""The first stage of Faster R-CNN: where there may be an object, of whatever class.

What torchvision keeps well is torchvision's: anchors, sampling, and what becomes of overlapping proposals. Its parts
wait for a GPU to count boxes, in forward and in the assignment.
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
    """What the first stage says of A anchors, and P proposals made of it.

    Attributes:
        objectness: (N, A) logits.
        offsets: (N, A, 4).
        anchors: (A, 4) in pixels.
        boxes: (N, P, 4) in pixels, best first; P is as many as the image with most of them has.
        there: (N, P) bool; where there is no proposal the box is the whole image.
    """

    objectness: Tensor
    offsets: Tensor
    anchors: Tensor
    boxes: Tensor
    there: Tensor


class ProposalNetwork(nn.Module):
    """Maps of one width, fine to coarse, and the images' (height, width) -> Proposals.

    Args:
        width: channels of the maps.
        strides: of the maps, in pixels.
        sizes: of each map, sides of its anchors in pixels.
        proposals: how many of an image are kept, in training twice as many.
    """

    def __init__(
        self, width: int, strides: Sequence[int], sizes: Sequence[tuple[float, ...]], parts: Parts, *, proposals: int
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        kept = {"training": 2 * proposals, "testing": proposals}
        # Beside it, not in it: by the name "head" goes what is as wide as there are classes.
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

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Proposals:
        objectness, offsets = self.answers(maps)
        counts = [level[0].numel() for level in objectness]
        logits, deltas = flatten_by_anchor(objectness, 1).squeeze(-1), flatten_by_anchor(offsets, 4)
        priors = anchors(self.network.anchor_generator, maps, self.strides)
        with torch.no_grad():
            boxes, there = self._proposals(logits.float(), delta_decode(deltas.float(), priors), size, counts)
        return Proposals(logits, deltas, priors, boxes, there)

    def _proposals(
        self, objectness: Tensor, boxes: Tensor, size: tuple[int, int], counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        """The boxes (N, P, 4) of those that are left, and which are (N, P)."""
        if objectness.is_meta:  # nobody can say how many are left
            boxes = boxes[:, : self.network.post_nms_top_n()]
            return boxes, torch.ones_like(boxes[..., 0], dtype=torch.bool)
        found, _ = self.network.filter_proposals(boxes, objectness, [size] * len(boxes), counts)
        most = max([len(rows) for rows in found] + [1])
        padded = image_box(size, boxes).repeat(len(boxes), most, 1)
        for place, rows in zip(padded, found, strict=True):
            place[: len(rows)] = rows
        numbers = torch.arange(most, device=boxes.device)
        return padded, torch.stack([numbers < len(rows) for rows in found])

    def matches(self, said: Proposals, labels: Tensor) -> MatchedTargets:
        """256 anchors of each image, at most half of them with an object (section 3.1.3); they have no class."""
        bounds = self.network.proposal_matcher
        found = match_anchors(said.anchors, labels, low=bounds.low_threshold, high=bounds.high_threshold, rescue="ties")
        rows, weights = sample(self.network.fg_bg_sampler, found, torch.ones_like(found.positive))
        offsets, priors = take_rows(said.offsets.float(), rows), said.anchors[rows]
        targets, positive = take_rows(found.boxes, rows), take_rows(found.positive, rows).float()
        nothing = offsets.new_zeros(0)
        return MatchedTargets(
            boxes=delta_decode(offsets, priors).flatten(0, 1),
            box_targets=targets.flatten(0, 1),
            offsets=offsets.flatten(0, 1),
            offset_targets=delta_encode(targets, priors).flatten(0, 1),
            box_weights=(weights * positive).flatten(),
            scores=nothing[:, None],
            classes=nothing.long(),
            class_weights=nothing,
            objectness=take_rows(said.objectness.float(), rows).flatten(),
            objectness_targets=positive.flatten(),
            objectness_weights=weights.flatten(),
            matched=weights.sum().clamp(min=1),
        )


class ProposalHead(nn.Module):
    """Maps -> of each (N, P, H, W) objectness and (N, 4 P, H, W) offsets, P anchors a place (figure 3, left)."""

    def __init__(self, width: int, priors: int, parts: Parts) -> None:
        super().__init__()
        self.conv = ConvNormAct(width, width, 3, parts, norm=False, drop=True)
        self.attention = parts.attention(width)
        self.objectness = Prediction(width, priors, 1)
        self.offsets = Prediction(width, 4 * priors, 1)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        maps = [self.attention(self.conv(level)) for level in maps]
        return [self.objectness(level) for level in maps], [self.offsets(level) for level in maps]


def sample(sampler: BalancedPositiveNegativeSampler, found: Assignment, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, S) of those `allowed` (N, A), and their weights (N, S), 0 or 1.

    The sampler draws from torch's global generator. S is what it is to draw of an image, or A; where it finds fewer,
    the other rows weigh 0.
    """
    labels = found.positive.long().masked_fill(~(allowed & (found.positive | found.negative)), -1)
    positive, negative = map(torch.stack, sampler(list(labels)))
    drawn = (positive | negative).float()
    weights, rows = drawn.topk(min(sampler.batch_size_per_image, drawn.shape[1]), dim=1)
    return rows, weights


def take_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Of values (N, A, ...) those of `rows` (N, S): (N, S, ...)."""
    return values.take_along_dim(rows.view(*rows.shape, *[1] * (values.dim() - 2)), 1)


def image_box(size: tuple[int, int], like: Tensor) -> Tensor:
    """The box of all of an image of (height, width): (4,)."""
    box = like.new_zeros(4)  # filled: a list would be copied to the device, which waits for it
    box[2], box[3] = size[1], size[0]
    return box
