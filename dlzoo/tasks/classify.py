"""Image classification."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dlzoo.data.feed import Batch
from dlzoo.metrics.classification import classification_metrics
from dlzoo.tasks.task import Task


class Classify(Task):
    """One label an image. `loss_fn` is called as loss_fn(logits (N, K), labels (N,))."""

    kept = ("loss", "accuracy")
    monitor = "accuracy"

    def __init__(self, network: nn.Module, *, loss_fn: nn.Module, **rest: Any) -> None:
        super().__init__(network, **rest)
        self.loss_fn = loss_fn

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        logits = self.network(batch.images)
        loss = self.loss_fn(logits.float(), batch.labels)
        return loss, (logits.detach().argmax(1) == batch.labels,)

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.evaluated(batch.images).float(), batch.labels

    def metrics(self, *outputs: Tensor) -> dict[str, Tensor]:
        logits, labels = outputs
        return {"loss": self.loss_fn(logits, labels)} | classification_metrics(logits, labels)
