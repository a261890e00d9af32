"""Call the hooks of a run. An error of a hook is a note, and never ends the training."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dlzoo.core import entry
from dlzoo.core.errors import Note, first_line
from dlzoo.core.overriding import overrides
from dlzoo.engine.hooks.hook import Hook, HookStart, Record
from dlzoo.engine.task_module import TaskModule

#: Files that call hooks or their builders.
_CALLERS = (__file__, str(Path(__file__).with_name("build.py")), entry.__file__)
_EVENTS = ("fit_start", "log", "epoch_end", "checkpoint", "plot", "fit_end", "exception")


class RunHooks:
    """The hooks of a run: name -> hook. Each event calls the hooks that override its method, in their order."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._started = False
        self._called: dict[str, list[tuple[str, Hook]]] = {
            event: [(name, hook) for name, hook in hooks.items() if overrides(hook, Hook, event)] for event in _EVENTS
        }

    def fit_start(self, start: HookStart) -> None:
        self._started = True
        self._call("fit_start", start)

    def log(self, record: Record) -> None:
        self._call("log", record)

    def epoch_end(self, step: int) -> None:
        self._call("epoch_end", step)

    def checkpoint(self, path: Path) -> None:
        self._call("checkpoint", path)

    def plot(self, name: str, path: Path, step: int) -> None:
        self._call("plot", name, path, step)

    def fit_end(self, metrics: Mapping[str, float]) -> None:
        self._call("fit_end", metrics)

    def exception(self, error: BaseException) -> None:
        if self._started:  # an error before that is none of the training
            self._call("exception", error)

    def callbacks(self) -> list[pl.Callback]:
        """Return the Lightning callback that calls `epoch_end`; none if no hook needs it."""
        return [_Epochs(self)] if self._called["epoch_end"] else []

    def _call(self, event: str, *arguments: Any) -> None:
        for name, hook in self._called[event]:
            try:
                getattr(hook, event)(*arguments)
            except (Exception, SystemExit) as error:
                # New lists: another thread may be going through the present ones.
                self._called = {
                    each: [pair for pair in pairs if pair[1] is not hook] for each, pairs in self._called.items()
                }
                warnings.warn(
                    f"hook {name} failed in {event}: {describe(error)}; it is switched off, the training goes on",
                    Note,
                    stacklevel=3,
                )


class _Epochs(pl.Callback):
    """Calls the hooks at the end of each epoch, after its validation."""

    def __init__(self, hooks: RunHooks) -> None:
        self.hooks = hooks

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TaskModule)
        self.hooks.epoch_end(pl_module.state.clock)


def describe(error: BaseException) -> str:
    """Return an error in one line, with the line of the hook's code that raised it, or led to it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in _CALLERS]
    # A hook may call other packages: the last line of its own file is the one to look at.
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    where = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    return f"{where}{type(error).__name__}: {first_line(error)}"
