"""Training and evaluation of detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dlzoo.core import distributed
from dlzoo.data.loader import Batch
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.engine.adversarial import LossFunction
from dlzoo.engine.task_module import TaskModule
from dlzoo.tasks.detection.losses import DetectionLoss, Terms
from dlzoo.tasks.detection.metrics.evaluation import DetectionEvaluation
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.postprocess import to_original


class DetectionModule(TaskModule):
    """Detection of objects of `num_classes` classes.

    Args:
        loss_fn: the loss of the network's matched targets.
        postprocess: candidate boxes (N, A, 4) or (N, A, K, 4) and scores (N, A, K) -> detections (N, D, 6).
        fit: how images were resized: metrics are in pixels of the original images.
    """

    logged_names = ("loss", "box_loss", "class_loss", "objectness_loss")
    monitor = "map50_voc10"
    network: Detector

    def __init__(
        self,
        network: Detector,
        *,
        loss_fn: DetectionLoss,
        postprocess: Callable[[Tensor, Tensor], Tensor],
        num_classes: int,
        fit: Fit,
        **rest: Any,
    ) -> None:
        super().__init__(network, **rest)
        self.loss_fn, self.postprocess, self.num_classes = loss_fn, postprocess, num_classes
        self.fit: Fit = fit

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        return _sum_terms(self.loss_fn(self.network.match_targets(self.network(batch.images), batch.labels)))

    def loss_of_step(self, batches: Sequence[Batch]) -> LossFunction:
        """Divide sums over objects by the objects of the whole step, not of each micro-batch."""
        matched: list[Tensor] = []

        def loss(batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
            raw = self.network(batch.images)
            stages = self.network.match_targets(raw, batch.labels)
            own = torch.stack([stage.matched for stage in stages]).float()
            if not matched:
                matched.append(self._matched_in_step(raw, own, batches))
            return _sum_terms(self.loss_fn(stages, matched[0].where(matched[0].isfinite(), own.clamp(min=1))))

        return loss

    def _matched_in_step(self, raw: Any, own: Tensor, batches: Sequence[Batch]) -> Tensor:
        """Return the mean number of matches in the micro-batches of all ranks, (stages,), given those of the first."""
        others = [self.network.count_matches(raw, batch.labels) for batch in batches[1:]]
        parts = len(batches) * self.context.rank.world_size
        return distributed.all_reduce(torch.stack([own, *others]).sum(0)).clamp(min=1) / parts

    def evaluation(self, *, details: bool) -> DetectionEvaluation:
        return DetectionEvaluation(self.num_classes)

    def evaluate(self, batch: Batch, evaluation: DetectionEvaluation) -> None:
        """Add detections (N, D, 6) and labels (N, M, 6), both in pixels of the original images."""
        detector: Any = self.eval_network
        detections = self.postprocess(*detector.candidates(detector(batch.images)))
        assert batch.sizes is not None
        where: tuple[Tensor, int, Fit] = (batch.sizes, batch.images.shape[-1], self.fit)
        evaluation.update(to_original(detections, *where), to_original(batch.labels, *where), batch.indices)


def _sum_terms(terms: Terms) -> tuple[Tensor, tuple[Tensor, ...]]:
    return torch.stack(terms).sum(), tuple(term.detach() for term in terms)
