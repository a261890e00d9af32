"""Detection: boxes around objects and their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.data.loader import Batch
from dlzoo.data.transforms.letterbox import Fit, original
from dlzoo.engine.task_module import Task
from dlzoo.tasks.detection.losses import DetectionLoss
from dlzoo.tasks.detection.metrics.summary import by_class, detection_metrics, precision_recall
from dlzoo.tasks.detection.models.detector import Detector


class Detect(Task):
    """Objects of `num_classes` classes in images.

    Args:
        loss_fn: of what the network should have said.
        suppress: candidate boxes (N, A, 4) or (N, A, K, 4) and scores (N, A, K) -> detections (N, D, 6).
        fit: how pictures were brought to the size of the images: metrics are in pixels of the pictures as they came.
    """

    kept = ("loss", "box_loss", "class_loss", "objectness_loss")
    monitor = "map50_voc10"
    network: Detector

    def __init__(
        self,
        network: Detector,
        *,
        loss_fn: DetectionLoss,
        suppress: Callable[[Tensor, Tensor], Tensor],
        num_classes: int,
        fit: Fit,
        **rest: Any,
    ) -> None:
        super().__init__(network, **rest)
        self.loss_fn, self.suppress, self.num_classes = loss_fn, suppress, num_classes
        self.fit: Fit = fit

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        terms = self.loss_fn(self.network.matches(self.network(batch.images), batch.labels))
        return torch.stack(terms).sum(), tuple(term.detach() for term in terms)

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Detections (N, D, 6) and labels (N, M, 6), both in pixels of the pictures as they came."""
        detector: Any = self.evaluated
        found = self.suppress(*detector.candidates(detector(batch.images)))
        assert batch.sizes is not None
        where: tuple[Tensor, int, Fit] = (batch.sizes, batch.images.shape[-1], self.fit)
        return in_picture(found, *where), in_picture(batch.labels, *where)

    def metrics(self, *outputs: Tensor) -> dict[str, Tensor]:
        found, labels = (output.cpu() for output in outputs)
        measured = detection_metrics(found, labels, self.num_classes)
        if self.monitor not in measured:
            raise UserError(
                f"none of {len(labels)} images that are measured has an object that counts: choose other data"
                " (data.val_fraction, data.limit)"
            )
        return measured

    def by_class(self, *outputs: Tensor) -> dict[str, list[float | None]]:
        found, labels = outputs
        return by_class(precision_recall(found, labels, self.num_classes))


def said(rows: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Detections (D, 6) of one picture, in words and numbers; rows of score 0 are none."""
    return [
        {"name": classes[int(index)], "score": round(score, 4), "box": [round(side, 2) for side in box]}
        for *box, score, index in rows.tolist()
        if score > 0
    ]


def in_picture(rows: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Detections or labels (N, M, 6), whose boxes are in pixels of images, in pixels of the pictures they came from."""
    return torch.cat([original(rows[..., :4], sizes, side, fit), rows[..., 4:]], dim=-1)
