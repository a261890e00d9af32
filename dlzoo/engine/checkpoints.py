"""Checkpoints: written at points that a run can resume from, and atomically."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO

from dlzoo.core import distributed
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.core.files import reason, replacing
from dlzoo.engine.task_module import TaskModule

#: Names of the checkpoints of the best validations.
_KEPT = re.compile(r"best_(epoch|step)_\d+\.ckpt")
#: Seconds of training that justify another checkpoint: epochs may be as short as a few milliseconds.
_WORTH_SAVING = 1.0


class Checkpoints(pl.Callback):
    """Save `best` after a new best validation score, `last`, to resume from, and the copies that are to be kept.

    `last` is saved every `schedule.checkpoint_every` steps, at the end of an epoch and after a validation if the last
    save is more than a second ago, and at the end of training. A request to stop takes effect where a run can resume:
    at the end of a range of steps inside an epoch, and only after the validation where there is one.
    """

    def __init__(self, last: Path, best: Path) -> None:
        self.last, self.best = last, best
        self._saved = float("-inf")
        self._inside: int | None = None  # the step of the last validation inside an epoch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Delete what a killed process did not delete any more, or saved after the checkpoint that is resumed."""
        module = _module(pl_module)
        if module.recipe.keep_best and module.context.rank.leads:
            _delete_others(self.last.parent, _kept(module))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = _module(pl_module)
        if module.schedule.ends_epoch(module.state.clock) or module.schedule.validates(module.state.clock):
            return  # saved after the validation: otherwise a resumed run would skip it
        stop = module.stops()
        if stop or module.schedule.saves(module.state.clock):
            module.training_means()  # raises if the loss is not finite: bad weights must not replace good ones
            self._save(trainer, self.last)
        if stop:
            raise _interruption(module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _module(pl_module)
        clock = module.state.clock
        if module.schedule.validates(clock) and not module.schedule.ends_epoch(clock):
            self._save_after(trainer, module, due=module.schedule.saves(clock))
            self._inside = clock

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = _module(pl_module)
        if module.state.clock != self._inside:  # early stopping after a validation inside the epoch
            self._save_after(trainer, module, due=False)

    def _save_after(self, trainer: pl.Trainer, module: TaskModule, *, due: bool) -> None:
        """Save after a validation or an epoch, if there is a reason to; `due` is one."""
        stop, over = module.stops(), module.state.clock == module.schedule.steps or trainer.should_stop
        if copies := self._copies(module):
            self._save(trainer, *copies, self.last)
        elif due or stop or over or distributed.any_rank(perf_counter() - self._saved > _WORTH_SAVING, module.device):
            self._save(trainer, self.last)
        if stop and not over:
            raise _interruption(module)

    def _copies(self, module: TaskModule) -> list[Path]:
        """Return the names, beside `last`, of a checkpoint of this step."""
        clock, best = module.state.clock, module.state.best
        name = module.schedule.name(clock)
        names = [f"{name}.ckpt"] if module.schedule.keeps(clock) else []
        names += [f"best_{name}.ckpt"] if any(step == clock for _, step in module.state.kept) else []
        copies = [self.last.with_name(each) for each in names]
        return copies if best is None or best.clock != clock else [*copies, self.best]

    def _save(self, trainer: pl.Trainer, path: Path, *others: Path) -> None:
        """Save a checkpoint by several names, `last` at the end: a run killed before that writes all of them again."""
        module = _module(trainer.lightning_module)
        module.check_weights_are_finite()
        kept = _kept(module) if module.recipe.keep_best else None
        trainer.save_checkpoint(path, storage_options={"others": others, "kept": kept})
        self._saved = perf_counter()


def _interruption(module: TaskModule) -> Interrupted:
    return Interrupted(f"stopped after step {module.state.clock} of {module.schedule.steps}")


class AtomicCheckpointIO(CheckpointIO):
    """Atomic checkpoint files: written to a temporary file, synced and renamed, so a kill leaves the previous one.

    A thread writes them, from a copy, while training continues; `close` waits for it. One checkpoint is written at a
    time, and its errors are raised by the next call.

    Args:
        written: called by the thread with the path of each checkpoint that is complete.

    Raises:
        UserError: if a checkpoint cannot be written.
    """

    def __init__(self, written: Callable[[Path], None] = lambda path: None) -> None:
        self._written = written
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._under_way: Future[None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """`storage_options`: {"others": more names for the file, "kept": names that _delete_others keeps}."""
        content = BytesIO()
        torch.save(checkpoint, content)
        self._wait()
        options = storage_options or {}
        paths = [Path(path), *options.get("others", ())]  # hard links to one file
        self._under_way = self._thread.submit(self._update, content.getbuffer(), paths, options.get("kept"))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        self._wait()
        return torch.load(path, map_location="cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        self._wait()
        Path(path).unlink()

    def close(self) -> None:
        self._thread.shutdown()
        self._wait()

    def _update(self, content: memoryview, paths: list[Path], kept: list[str] | None) -> None:
        """Write a checkpoint, and only then delete those that are no longer among the best."""
        _write(content, *paths)
        if kept is not None:
            _delete_others(paths[0].parent, kept)
        for path in paths:
            self._written(path)

    def _wait(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()


def kept_best(module: TaskModule) -> dict[str, float]:
    """Return checkpoint -> monitored value of the best validations, the best first."""
    monitor = module.recipe.monitor
    sign = 1 if monitor is None or monitor.higher_is_better else -1
    return {name: sign * score for name, (score, _) in zip(_kept(module), module.state.kept, strict=True)}


def _kept(module: TaskModule) -> list[str]:
    return [f"best_{module.schedule.name(step)}.ckpt" for _, step in module.state.kept]


def _delete_others(folder: Path, kept: list[str]) -> None:
    """Delete the checkpoints of validations that are not among the best, `kept`."""
    for path in folder.glob("best_*.ckpt"):
        if _KEPT.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


def _write(content: memoryview, path: Path, *others: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)  # of a user's ModelCheckpoint
    with _replace_atomically(path) as aside, aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    for other in others:
        with _replace_atomically(other) as aside:
            _link(path, aside)


@contextmanager
def _replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` afterwards.

    Raises:
        UserError: if it cannot be written.
    """
    try:
        with replacing(path) as aside:
            yield aside
    except OSError as error:
        kept = "; the previous checkpoint is intact" if path.exists() else ""
        raise UserError(f"cannot write {path}: {reason(error)}{kept}") from error


def _link(path: Path, name: Path) -> None:
    """Give a file a second name; neither is ever written to again."""
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)


def _module(module: pl.LightningModule) -> TaskModule:
    assert isinstance(module, TaskModule)
    return module
