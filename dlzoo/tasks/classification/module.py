"""Training and evaluation of classifiers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.engine.task_module import TaskModule
from dlzoo.layers.head import WithAuxiliary
from dlzoo.tasks.classification.metrics import ClassificationEvaluation


class ClassificationModule(TaskModule):
    """Classification with one class for each sample: loss_fn(logits (N, K), labels (N,)); mixed labels are (N, K).

    Auxiliary classifiers of a network add their losses in training (arXiv:1409.4842, section 5).
    """

    logged_names = ("loss", "accuracy")
    monitor = "accuracy"

    def __init__(self, network: nn.Module, *, loss_fn: nn.Module, num_classes: int, **rest: Any) -> None:
        super().__init__(network, **rest)
        self.loss_fn, self.num_classes = loss_fn, num_classes

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        output = self.network(batch.images)
        logits, auxiliary, weight = output if isinstance(output, WithAuxiliary) else (output, (), 0.0)
        loss = self.loss_fn(logits.float(), batch.labels)
        for others in auxiliary:
            loss = loss + weight * self.loss_fn(others.float(), batch.labels)
        likeliest = batch.labels.argmax(1) if batch.labels.dim() == 2 else batch.labels
        return loss, (logits.detach().argmax(1) == likeliest,)

    def evaluation(self, *, details: bool) -> ClassificationEvaluation:
        return ClassificationEvaluation(self.loss_fn, self.num_classes, details=details)

    def evaluate(self, batch: Batch, evaluation: ClassificationEvaluation) -> None:
        evaluation.update(self.predictions(batch), batch.labels, batch.indices)
