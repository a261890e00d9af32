"""Anchor heads: offsets and scores for fixed boxes (anchors, or priors), and the one-stage detectors built on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from dlzoo.boxes.codecs import delta_decode, delta_encode
from dlzoo.boxes.objects import MatchedTargets
from dlzoo.layers.convs import conv2d
from dlzoo.tasks.detection.matcher import Assignment
from dlzoo.tasks.detection.models.detector import Detector

Fill = Callable[[Tensor], Tensor]
Weights = tuple[float, float, float, float]

#: Heights over widths of anchors (arXiv:1506.01497, section 3.1.1; arXiv:1708.02002, section 4).
RATIOS = (0.5, 1.0, 2.0)

_SMALL: Fill = partial(nn.init.normal_, std=0.01)


class HeadOutputs(NamedTuple):
    """Outputs of the heads for A priors.

    Attributes:
        offsets: (N, A, 4).
        scores: (N, A, K) logits of independent classes, or (N, A, K + 1) of exclusive ones, the last background.
        priors: (A, 4) in pixels.
    """

    offsets: Tensor
    scores: Tensor
    priors: Tensor


class OneStage(Detector):
    """Common base of SSD and RetinaNet: each prior is matched with an object, is background, or is ignored.

    Args:
        softmax_classes: whether the scores are a softmax over classes and background, or a sigmoid for each class.
        weights: factors of the offsets.
    """

    def __init__(self, *, num_classes: int, softmax_classes: bool, weights: Weights) -> None:
        super().__init__()
        self.num_classes, self.softmax_classes, self.weights = num_classes, softmax_classes, weights
        self.num_scores = num_classes + 1 if softmax_classes else num_classes

    @abstractmethod
    def assigned(self, priors: Tensor, labels: Tensor) -> Assignment:
        """Match priors (A, 4) with the objects of labels (N, M, 6)."""

    @abstractmethod
    def class_weights(self, scores: Tensor, assignment: Assignment) -> Tensor:
        """Return the weight (N, A) of each prior in the class loss."""

    def match_targets(self, raw: HeadOutputs, labels: Tensor) -> list[MatchedTargets]:
        offsets, scores = raw.offsets.float(), raw.scores.float()
        assignment = self.assigned(raw.priors, labels)
        return [
            MatchedTargets(
                boxes=delta_decode(offsets, raw.priors, self.weights).flatten(0, 1),
                box_targets=assignment.boxes.flatten(0, 1),
                offsets=offsets.flatten(0, 1),
                offset_targets=delta_encode(assignment.boxes, raw.priors, self.weights).flatten(0, 1),
                box_weights=assignment.positive.flatten().float(),
                scores=scores.flatten(0, 1),
                classes=torch.where(assignment.positive, assignment.classes, self.num_classes).flatten(),
                class_weights=self.class_weights(scores.detach(), assignment).flatten(),
                matched=assignment.positive.sum(),
            )
        ]

    def count_matches(self, raw: HeadOutputs, labels: Tensor) -> Tensor:
        return self.assigned(raw.priors, labels).positive.sum()[None].float()

    def candidates(self, raw: HeadOutputs) -> tuple[Tensor, Tensor]:
        boxes = delta_decode(raw.offsets.float(), raw.priors, self.weights)
        return boxes, probabilities(raw.scores.float(), self.num_classes, softmax_classes=self.softmax_classes)


def probabilities(scores: Tensor, num_classes: int, *, softmax_classes: bool) -> Tensor:
    """Return the probability of each class (..., K) from logits (..., K) or (..., K + 1)."""
    return scores.softmax(-1)[..., :num_classes] if softmax_classes else scores.sigmoid()


def flatten_by_anchor(features: Sequence[Tensor], columns: int) -> Tensor:
    """Flatten feature maps (N, P * columns, H, W), P priors a cell: (N, all H * W * P, columns), rows, then priors."""
    rows = [level.unflatten(1, (-1, columns)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in features]
    return torch.cat(rows, dim=1)


def anchors(generator: AnchorGenerator, features: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Return boxes (A, 4) in pixels, in the order of `flatten_by_anchor`, centred on the upper left corners of cells.

    The centres are torchvision's; its own strides are wrong for feature maps whose sides were rounded up.
    """
    generator.set_cell_anchors(torch.float32, features[0].device)
    sides = [[level.shape[2], level.shape[3]] for level in features]
    steps: Any = [(stride, stride) for stride in strides]
    return torch.cat(generator.grid_anchors(sides, steps))


def lateral_convs(channels: Sequence[int], width: int) -> tuple[nn.ModuleList, int]:
    """Return 1x1 convolutions from feature maps of different `channels` to one width, and that width.

    It is `width`, or the common number of channels if the feature maps have one.
    """
    width = channels[0] if len(set(channels)) == 1 else width
    return nn.ModuleList(nn.Identity() if c == width else conv2d(c, width, 1) for c in channels), width


class Prediction(nn.Conv2d):
    """Convolution of a prediction layer: its weights are initialised by `fill`, its bias is 0."""

    keeps_init = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, fill: Fill = _SMALL) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        fill(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
