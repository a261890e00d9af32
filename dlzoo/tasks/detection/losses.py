"""Detection losses: of boxes, of their classes and of objectness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.boxes.objects import MatchedTargets


class Terms(NamedTuple):
    """Terms of a detector's loss, () each, weighted as in their sum."""

    box: Tensor
    classes: Tensor
    objectness: Tensor


def is_independent(class_loss: nn.Module) -> bool:
    """Return whether a class loss treats each class as a binary problem; otherwise it takes a softmax over classes."""
    return getattr(class_loss, "independent", False)


class DetectionLoss(nn.Module):
    """MatchedTargets of each stage -> Terms: weighted sums over all rows, divided by the number of matched objects.

    Args:
        box_loss: an entry of BOX_LOSSES.
        class_loss: an entry of LOSSES for objects; independent classes are 0 or 1 each, background is all zeros.
        on_offsets: whether `box_loss` compares offsets as the network outputs them, or decoded boxes.
        weight: weight of the box loss relative to the others.

    Objectness is a binary cross-entropy. Objects are counted in each micro-batch: with trainer.accumulate or several
    devices all micro-batches have equal weight, however many objects they hold.
    """

    def __init__(self, box_loss: nn.Module, class_loss: nn.Module, *, on_offsets: bool, weight: float = 1.0) -> None:
        super().__init__()
        self.box_loss, self.class_loss = box_loss, class_loss
        self.on_offsets, self.weight = on_offsets, weight

    def forward(self, stages: Sequence[MatchedTargets]) -> Terms:
        terms = [self._of(stage) for stage in stages]
        return Terms(*(torch.stack(column).sum() for column in zip(*terms, strict=True)))

    def _of(self, stage: MatchedTargets) -> Terms:
        input, target = (stage.offsets, stage.offset_targets) if self.on_offsets else (stage.boxes, stage.box_targets)
        # Masking the loss is not enough: the gradient of a row of weight 0 could still be NaN.
        input = torch.where(stage.box_weights[:, None] > 0, input, target)
        boxes = _weighted_sum(self.box_loss.each(input, target), stage.box_weights)  # pyright: ignore[reportCallIssue]
        classes = _weighted_sum(self._classes(stage), stage.class_weights)
        objectness = F.binary_cross_entropy_with_logits(
            stage.objectness, stage.objectness_targets, stage.objectness_weights, reduction="sum"
        )
        return Terms(self.weight * boxes / stage.matched, classes / stage.matched, objectness / stage.matched)

    def _classes(self, stage: MatchedTargets) -> Tensor:
        """Return the class loss of each row: (Q,)."""
        if not len(stage.classes):
            return stage.class_weights
        if is_independent(self.class_loss):
            count = stage.scores.shape[1]
            target = F.one_hot(stage.classes, count + 1)[:, :count].to(stage.scores.dtype)
            return self.class_loss.each(stage.scores, target)  # pyright: ignore[reportCallIssue]
        return self.class_loss.each(stage.scores, stage.classes)  # pyright: ignore[reportCallIssue]


def _weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum; a row of weight 0 adds nothing, even if its loss is NaN."""
    return torch.where(weights > 0, losses * weights, 0).sum()
