"""Training and evaluation of regression models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.data.loader import Batch
from dlzoo.engine.task_module import TaskModule
from dlzoo.tasks.regression.metrics import RegressionEvaluation


class Standardise(nn.Module):
    """Standardise targets (N, D) to mean 0 and standard deviation 1 of the training split; `inverse` undoes it.

    Targets are float64: years and identifiers differ by less than float32 can hold. A constant target keeps its unit.
    `identity` leaves all targets as they are, for corners of boxes, which must keep one scale. A module, so that
    checkpoints hold its buffers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, targets: Tensor, *, identity: bool = False) -> None:
        super().__init__()
        targets = torch.zeros_like(targets) if identity else targets
        deviation = targets.double().std(0, correction=0)
        self.register_buffer("mean", targets.double().mean(0))
        self.register_buffer("deviation", torch.where(deviation > 0, deviation, 1.0))

    def forward(self, targets: Tensor) -> Tensor:
        return ((targets - self.mean) / self.deviation).float()

    def inverse(self, numbers: Tensor) -> Tensor:
        """Return standardised numbers (N, D) in the unit of the targets, float64."""
        return numbers.double() * self.deviation + self.mean


class RegressionModule(TaskModule):
    """Regression of D numbers for each sample: loss_fn(predictions (N, D), targets (N, D)), both standardised.

    Metrics are in the targets' own unit.
    """

    logged_names = ("loss", "mae")
    monitor = "r2"

    def __init__(self, network: nn.Module, *, loss_fn: nn.Module, standardise: Standardise, **rest: Any) -> None:
        super().__init__(network, **rest)
        self.loss_fn, self.standardise = loss_fn, standardise

    def loss(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        numbers = self.network(batch.images).float()
        error = (self.standardise.inverse(numbers.detach()) - batch.labels).abs().mean()
        return self.loss_fn(numbers, self.standardise(batch.labels)), (error,)

    def evaluation(self, *, details: bool) -> RegressionEvaluation:
        return RegressionEvaluation(self.loss_fn, details=details)

    def evaluate(self, batch: Batch, evaluation: RegressionEvaluation) -> None:
        numbers = self.standardise.inverse(self.predictions(batch))
        evaluation.add_loss(self.standardise(numbers), self.standardise(batch.labels))
        evaluation.update(numbers, batch.labels, batch.indices)
