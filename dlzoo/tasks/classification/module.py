"""Classification."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.engine.task_module import Task
from dlzoo.layers.head import WithAuxiliary
from dlzoo.tasks.classification.metrics import classification_metrics, recall


class Classify(Task):
    """One label a sample. `loss_fn` is called as loss_fn(logits (N, K), labels (N,)); mixed labels are (N, K).

    Auxiliary classifiers of a network add their losses in training (arXiv:1409.4842, section 5).
    """

    kept = ("loss", "accuracy")
    monitor = "accuracy"

    def __init__(self, network: nn.Module, *, loss_fn: nn.Module, **rest: Any) -> None:
        super().__init__(network, **rest)
        self.loss_fn = loss_fn

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        given = self.network(batch.images)
        logits, auxiliary, weight = given if isinstance(given, WithAuxiliary) else (given, (), 0.0)
        loss = self.loss_fn(logits.float(), batch.labels)
        for others in auxiliary:
            loss = loss + weight * self.loss_fn(others.float(), batch.labels)
        likeliest = batch.labels.argmax(1) if batch.labels.is_floating_point() else batch.labels
        return loss, (logits.detach().argmax(1) == likeliest,)

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.predictions(batch), batch.labels

    def metrics(self, *outputs: Tensor) -> dict[str, Tensor]:
        logits, labels = outputs
        return {"loss": self.loss_fn(logits, labels)} | classification_metrics(logits, labels)

    def by_class(self, *outputs: Tensor) -> dict[str, list[float]]:
        return {"recall": recall(*outputs).tolist()}
