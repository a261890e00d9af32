"""Checkpoints: written where they are legal, never half."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dlzoo.errors import UserError
from dlzoo.tasks.task import Task


class Checkpoints(pl.Callback):
    """Writes `last` (to resume) at each epoch's end and every `plan.checkpoint_every` steps, `best` when it is beaten.

    A request to stop is obeyed where a checkpoint is legal: at the end of a range of steps inside an epoch, and at
    an epoch's end only after validation.
    """

    def __init__(self, last: Path, best: Path) -> None:
        self.last, self.best = last, best

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        task = _task(pl_module)
        if task.clock % task.plan.steps_per_epoch == 0:
            return  # saved in on_train_epoch_end, or a resume would skip the validation
        every = task.plan.checkpoint_every
        if task.stop_requested or (every and task.clock % every == 0):
            self._save(trainer, self.last)
        if task.stop_requested:
            task.stop_here()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        task = _task(pl_module)
        if task.best is not None and task.best.clock == task.clock:
            self._save(trainer, self.best)
        self._save(trainer, self.last)
        if task.stop_requested and task.clock < task.plan.steps:
            task.stop_here()

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        """Write aside, sync, rename: a kill or a full disk leaves the previous checkpoint whole."""
        aside = path.with_suffix(".partial")
        try:
            trainer.save_checkpoint(aside)
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(aside, path)
        except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
            aside.unlink(missing_ok=True)
            raise UserError(f"cannot write {path}: {error}; the checkpoint before it is whole") from error


def _task(module: pl.LightningModule) -> Task:
    assert isinstance(module, Task)
    return module
