"""Callbacks that only look: how long steps take, and what the loss does while the rate rises."""

from __future__ import annotations

from math import isfinite
from time import perf_counter
from typing import Any

import pytorch_lightning as pl

from dlzoo.engine.task_module import TaskModule


class Timer(pl.Callback):
    """When each step ended, and how long a validation took, in seconds."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.validation = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps.append(perf_counter())

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validation = perf_counter() - self._began


class LossCurve(pl.Callback):
    """The loss of each step, until there are `steps` of them or it has grown to `worst` times the smallest."""

    def __init__(self, steps: int, worst: float) -> None:
        self.steps, self.worst = steps, worst
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TaskModule)
        loss = float(outputs["loss"])
        lost = not isfinite(loss) or (len(self.losses) > 10 and loss > self.worst * min(self.losses))
        if isfinite(loss):
            self.losses.append(loss)
        trainer.should_stop = trainer.should_stop or lost or len(self.losses) >= self.steps
