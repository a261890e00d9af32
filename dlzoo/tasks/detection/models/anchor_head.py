"""Priors: boxes at fixed places, each with offsets and scores of its own, and the detectors of one stage made so."""

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
    """What the heads say of A priors.

    Attributes:
        offsets: (N, A, 4).
        scores: (N, A, K) logits of independent classes, or (N, A, K + 1) of exclusive ones, the last background.
        priors: (A, 4) in pixels.
    """

    offsets: Tensor
    scores: Tensor
    priors: Tensor


class OneStage(Detector):
    """What SSD and RetinaNet have in common: each prior finds an object, or is background, or is left alone.

    Args:
        softmax_classes: a prior has one class, or background; else each class is told from the rest.
        weights: what offsets are multiplied by.
    """

    def __init__(self, *, num_classes: int, softmax_classes: bool, weights: Weights) -> None:
        super().__init__()
        self.num_classes, self.softmax_classes, self.weights = num_classes, softmax_classes, weights
        self.num_scores = num_classes + 1 if softmax_classes else num_classes

    @abstractmethod
    def assigned(self, priors: Tensor, labels: Tensor) -> Assignment:
        """What each prior (A, 4) is to find."""

    @abstractmethod
    def class_weights(self, scores: Tensor, assignment: Assignment) -> Tensor:
        """How much the classes of each prior count: (N, A)."""

    def matches(self, raw: HeadOutputs, labels: Tensor) -> list[MatchedTargets]:
        offsets, scores = raw.offsets.float(), raw.scores.float()
        found = self.assigned(raw.priors, labels)
        nothing = offsets.new_zeros(0)
        return [
            MatchedTargets(
                boxes=delta_decode(offsets, raw.priors, self.weights).flatten(0, 1),
                box_targets=found.boxes.flatten(0, 1),
                offsets=offsets.flatten(0, 1),
                offset_targets=delta_encode(found.boxes, raw.priors, self.weights).flatten(0, 1),
                box_weights=found.positive.flatten().float(),
                scores=scores.flatten(0, 1),
                classes=torch.where(found.positive, found.classes, self.num_classes).flatten(),
                class_weights=self.class_weights(scores.detach(), found).flatten(),
                objectness=nothing,
                objectness_targets=nothing,
                objectness_weights=nothing,
                matched=found.positive.sum().clamp(min=1),
            )
        ]

    def candidates(self, raw: HeadOutputs) -> tuple[Tensor, Tensor]:
        boxes = delta_decode(raw.offsets.float(), raw.priors, self.weights)
        return boxes, probabilities(raw.scores.float(), self.num_classes, softmax_classes=self.softmax_classes)


def probabilities(scores: Tensor, num_classes: int, *, softmax_classes: bool) -> Tensor:
    """Logits (..., K) or (..., K + 1) -> how probable each class is: (..., K)."""
    return scores.softmax(-1)[..., :num_classes] if softmax_classes else scores.sigmoid()


def flatten_by_anchor(maps: Sequence[Tensor], columns: int) -> Tensor:
    """Maps (N, P * columns, H, W), P priors a place -> (N, all H * W * P, columns): row by row, prior by prior."""
    rows = [level.unflatten(1, (-1, columns)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in maps]
    return torch.cat(rows, dim=1)


def anchors(generator: AnchorGenerator, maps: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Boxes (A, 4) in pixels, in the order of `flatten_by_anchor`, around the upper left corner of each cell.

    That is where torchvision has them; the generator's own strides are wrong for maps whose sides were rounded up.
    """
    generator.set_cell_anchors(torch.float32, maps[0].device)
    sides = [[level.shape[2], level.shape[3]] for level in maps]
    steps: Any = [(stride, stride) for stride in strides]
    return torch.cat(generator.grid_anchors(sides, steps))


def lateral_convs(channels: Sequence[int], width: int) -> tuple[nn.ModuleList, int]:
    """What brings maps of different `channels` to one width by 1x1 convolutions, and that width.

    It is `width`, or that of the maps where they have one already.
    """
    width = channels[0] if len(set(channels)) == 1 else width
    return nn.ModuleList(nn.Identity() if c == width else conv2d(c, width, 1) for c in channels), width


class Prediction(nn.Conv2d):
    """A convolution whose output is read as numbers: its weights are filled by `fill`, its bias is 0."""

    keeps_init = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, fill: Fill = _SMALL) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        fill(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)
