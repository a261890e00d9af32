"""Detection losses: of boxes, of their classes and of objectness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.boxes.objects import MatchedTargets
from dlzoo.core.protocols import LossOfSamples, is_independent


class Terms(NamedTuple):
    """Terms of a detector's loss, () each, weighted as in their sum."""

    box: Tensor
    classes: Tensor
    objectness: Tensor


class DetectionLoss(nn.Module):
    """MatchedTargets of each stage -> Terms: weighted sums over all rows, divided by the number of matched objects.

    Args:
        box_loss: an entry of BOX_LOSSES.
        class_loss: an entry of LOSSES for objects; independent classes are 0 or 1 each, background is all zeros.
        on_offsets: whether `box_loss` compares offsets as the network outputs them, or decoded boxes.
        weight: weight of the box loss relative to the others.

    Objectness is a binary cross-entropy.
    """

    def __init__(
        self, box_loss: LossOfSamples, class_loss: LossOfSamples, *, on_offsets: bool, weight: float = 1.0
    ) -> None:
        super().__init__()
        self.box_loss, self.class_loss = box_loss, class_loss
        self.on_offsets, self.weight = on_offsets, weight
        self.independent = is_independent(class_loss)

    def forward(self, stages: Sequence[MatchedTargets], matched: Tensor | None = None) -> Terms:
        """Compute the loss.

        Args:
            stages: the matched targets.
            matched: (stages,) divisors of the sums; default the numbers of matches in `stages`, at least 1.
        """
        divisors = [stage.matched.clamp(min=1) for stage in stages] if matched is None else matched.unbind()
        terms = [self._of(stage, divisor) for stage, divisor in zip(stages, divisors, strict=True)]
        return Terms(*(torch.stack(column).sum() for column in zip(*terms, strict=True)))

    def _of(self, stage: MatchedTargets, divisor: Tensor) -> Terms:
        input, target = (stage.offsets, stage.offset_targets) if self.on_offsets else (stage.boxes, stage.box_targets)
        # Masking the loss is not enough: the gradient of a row of weight 0 could still be NaN.
        input = torch.where(stage.box_weights[:, None] > 0, input, target)
        boxes = _weighted_sum(self.box_loss.each(input, target), stage.box_weights)
        sums = (self.weight * boxes, self._classes(stage), _objectness(stage))
        return Terms(*(total / divisor for total in sums))

    def _classes(self, stage: MatchedTargets) -> Tensor:
        """Return the weighted sum of the class losses: ()."""
        if stage.scores is None or stage.classes is None or stage.class_weights is None:
            return stage.boxes.new_zeros(())
        target = stage.classes
        if self.independent:
            count = stage.scores.shape[1]
            target = F.one_hot(stage.classes, count + 1)[:, :count].to(stage.scores.dtype)
        return _weighted_sum(self.class_loss.each(stage.scores, target), stage.class_weights)


def _objectness(stage: MatchedTargets) -> Tensor:
    """Return the weighted sum of the binary cross-entropies of the objectness: ()."""
    if stage.objectness is None or stage.objectness_targets is None:
        return stage.boxes.new_zeros(())
    return F.binary_cross_entropy_with_logits(
        stage.objectness, stage.objectness_targets, stage.objectness_weights, reduction="sum"
    )


def _weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum; a row of weight 0 adds nothing, even if its loss is NaN."""
    return torch.where(weights > 0, losses * weights, 0).sum()
