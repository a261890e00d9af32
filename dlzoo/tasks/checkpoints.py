"""Checkpoints: written where they are legal, never half."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO

from dlzoo.errors import Interrupted, UserError
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
        if task.plan.ends_epoch(task.clock):
            return  # saved in on_train_epoch_end, or a resume would skip the validation
        stop = task.stops()
        if stop or task.plan.saves(task.clock):
            task.training_means()  # weights that are lost must not take the place of good ones
            trainer.save_checkpoint(self.last)
        if stop:
            raise _stopped(task)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        task = _task(pl_module)
        if task.best is not None and task.best.clock == task.clock:
            trainer.save_checkpoint(self.best)
            if trainer.is_global_zero:
                with in_place_of(self.last) as aside:
                    _second_name(self.best, aside)
        else:
            trainer.save_checkpoint(self.last)
        if task.stops() and task.clock < task.plan.steps:
            raise _stopped(task)


def _stopped(task: Task) -> Interrupted:
    return Interrupted(f"stopped after step {task.clock} of {task.plan.steps}")


class WholeFiles(CheckpointIO):
    """Checkpoints are written aside, synced and renamed: a kill or a full disk leaves the one before it whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)  # of a user's ModelCheckpoint
        with in_place_of(Path(path)) as aside, aside.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location="cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink()


@contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Another name to write to; what is there then takes the place of `path`, whole.

    Raises:
        UserError: if it cannot be written.
    """
    aside = path.with_suffix(".partial")
    aside.unlink(missing_ok=True)
    try:
        yield aside
        os.replace(aside, path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        # torch's writer turns a full disk into a RuntimeError
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        kept = "; the checkpoint before it is whole" if path.exists() else ""
        raise UserError(f"cannot write {path}: {cause.strerror}{kept}") from error


def _second_name(path: Path, name: Path) -> None:
    """A second name for a file that is never written to again."""
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)


def _task(module: pl.LightningModule) -> Task:
    assert isinstance(module, Task)
    return module
