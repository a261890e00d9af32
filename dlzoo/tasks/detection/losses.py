"""What a detector learns from: the losses of its boxes, of their classes and of whether there is an object at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.boxes.objects import MatchedTargets


class Terms(NamedTuple):
    """The parts of a detector's loss, () each, weighted as they are in their sum."""

    box: Tensor
    classes: Tensor
    objectness: Tensor


def is_independent(class_loss: nn.Module) -> bool:
    """Whether a loss for objects tells each class from the rest; the others take a softmax over them."""
    return getattr(class_loss, "independent", False)


class DetectionLoss(nn.Module):
    """MatchedTargets of each stage -> Terms: sums over all rows, weighted, divided by the number of objects matched.

    Args:
        box_loss: an entry of BOX_LOSSES.
        class_loss: an entry of LOSSES for objects; independent classes are 0 or 1 each, background is all zeros.
        on_offsets: whether `box_loss` is a distance, of offsets as the network says them, or a measure of boxes.
        weight: of the boxes beside the rest.

    Objectness is a binary cross-entropy. Objects are counted in each part that a batch is worked through in: with
    trainer.accumulate or several devices the parts count the same, however many are in them.
    """

    def __init__(self, box_loss: nn.Module, class_loss: nn.Module, *, on_offsets: bool, weight: float = 1.0) -> None:
        super().__init__()
        self.box_loss, self.class_loss = box_loss, class_loss
        self.on_offsets, self.weight = on_offsets, weight

    def forward(self, stages: Sequence[MatchedTargets]) -> Terms:
        terms = [self._of(stage) for stage in stages]
        return Terms(*(torch.stack(column).sum() for column in zip(*terms, strict=True)))

    def _of(self, stage: MatchedTargets) -> Terms:
        given, wanted = (stage.offsets, stage.offset_targets) if self.on_offsets else (stage.boxes, stage.box_targets)
        # Not only its loss: what a row of no weight says must not have a gradient that is no number.
        given = torch.where(stage.box_weights[:, None] > 0, given, wanted)
        boxes = _weighted(self.box_loss.each(given, wanted), stage.box_weights)  # pyright: ignore[reportCallIssue]
        classes = _weighted(self._classes(stage), stage.class_weights)
        objectness = F.binary_cross_entropy_with_logits(
            stage.objectness, stage.objectness_targets, stage.objectness_weights, reduction="sum"
        )
        return Terms(self.weight * boxes / stage.matched, classes / stage.matched, objectness / stage.matched)

    def _classes(self, stage: MatchedTargets) -> Tensor:
        """(Q,)."""
        if not len(stage.classes):
            return stage.class_weights
        if is_independent(self.class_loss):
            count = stage.scores.shape[1]
            wanted = F.one_hot(stage.classes, count + 1)[:, :count].to(stage.scores.dtype)
            return self.class_loss.each(stage.scores, wanted)  # pyright: ignore[reportCallIssue]
        return self.class_loss.each(stage.scores, stage.classes)  # pyright: ignore[reportCallIssue]


def _weighted(losses: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum; a row of weight 0 counts nothing, whatever is in it."""
    return torch.where(weights > 0, losses * weights, 0).sum()
