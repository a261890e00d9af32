"""Console output of a run: one line per epoch, and a progress bar on a terminal."""

from __future__ import annotations

import warnings
from threading import Event, Thread
from typing import Any

import pytorch_lightning as pl
from rich.console import Console, ConsoleRenderable, RenderHook
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TimeRemainingColumn
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from dlzoo.core import console
from dlzoo.core.errors import Note
from dlzoo.core.files import reason
from dlzoo.core.notebook import NotebookBar, in_notebook
from dlzoo.core.protocols import HasNotes
from dlzoo.core.terminal import discard_output
from dlzoo.engine.task_module import TaskModule

#: Seconds between two updates in a notebook, and the most lines of epochs there, which stay in its file.
_NOTEBOOK_LOOK, _NOTEBOOK_LINES = 0.5, 100


class PatientConsole(console.Console):
    """Console that survives its output: neither `train.py | head -1` nor a full disk may end a training."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard_output()

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or go on in silence after a line on the standard error."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.on_broken_pipe()
            warnings.warn(
                f"cannot write to the standard output: {reason(error)}; the run continues without it",
                Note,
                stacklevel=2,
            )


class Display(pl.Callback):
    """Print one line per epoch and a live progress bar: on a terminal below the lines, in a notebook above them.

    The bar reads plain numbers four times a second in its own thread and prints the waiting lines with each refresh,
    so it adds no time to a step, and short epochs cause no extra redrawing.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress: Progress | None = None
        self._lines = _Lines()
        self._notebook = NotebookProgress() if in_notebook() and not console.quiet else None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TaskModule)
        if pl_module.recipe.compiled:
            self.console.print("compiling: the first step may take minutes", soft_wrap=True)
        self._start(pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, TaskModule)
        epoch, epochs = trainer.current_epoch + 1, pl_module.schedule.epochs
        thinned = self._notebook is not None and epoch % -(-epochs // _NOTEBOOK_LINES) != 0 and epoch != epochs
        lines = [] if thinned else [Text(describe(pl_module))]
        if isinstance(transform := pl_module.loaders.train.transform, HasNotes):
            lines += [Text(f"note: {remark}") for remark in transform.new_notes()]
        if self._progress is None:
            for line in lines:
                self.console.print(line, soft_wrap=True)
        else:
            self._lines.waiting += lines

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _start(self, module: pl.LightningModule) -> None:
        assert isinstance(module, TaskModule)
        if self._notebook is not None:
            self._notebook.start(module)
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            columns: list[Any] = [BarColumn(16), TaskProgressColumn(), TimeRemainingColumn(), facts := _Facts(module)]
            self._progress = facts.progress = Progress(
                *columns, console=self.console, refresh_per_second=4, expand=True, transient=True
            )
            self._progress.add_task("", total=module.schedule.steps, completed=module.state.clock)
            self.console.push_render_hook(self._lines)  # before the bar's own hook: the lines appear above it
            self._progress.start()

    def _stop(self) -> None:
        if self._notebook is not None:
            self._notebook.stop()
        if self._progress is not None:
            self._progress.stop()
            self.console.pop_render_hook()
            self._progress = None


class NotebookProgress:
    """The bar of a run in a notebook, updated by a thread: one output for training and test."""

    def __init__(self) -> None:
        self._bar, self._ended, self._thread = NotebookBar(), Event(), None

    def start(self, module: TaskModule) -> None:
        """Show the progress of a module until `stop`."""
        self._ended.clear()
        self._thread = Thread(target=self._follow, args=(module,), daemon=True)
        self._show(module)  # here, so that the output belongs to the cell
        self._thread.start()

    def stop(self) -> None:
        """Show the last state, and end the thread."""
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _follow(self, module: TaskModule) -> None:
        while not self._ended.wait(_NOTEBOOK_LOOK):
            self._show(module)
        self._show(module)

    def _show(self, module: TaskModule) -> None:
        self._bar.update(module.state.clock / max(module.schedule.steps, 1), describe(module))


class _Lines(RenderHook):
    """Lines that are printed with whatever is printed next."""

    def __init__(self) -> None:
        self.waiting: list[Text] = []

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        waiting, self.waiting = self.waiting, []
        return [*waiting, *renderables]


class _Facts(ProgressColumn):
    """The latest values as text; rendering them also advances the bar, so that both show the same step."""

    max_refresh = 0.2

    def __init__(self, module: TaskModule) -> None:
        super().__init__(Column(no_wrap=True, ratio=1))  # a narrow terminal cuts the end off
        self.module = module
        self.progress: Progress | None = None

    def render(self, task: Bar) -> Text:
        if self.progress is not None and task.completed != self.module.state.clock:
            self.progress.update(task.id, completed=self.module.state.clock)
        return Text(describe(self.module))


def describe(module: TaskModule) -> str:
    """Return the latest values in one line."""
    epoch = min(module.schedule.epochs_begun(max(module.state.clock, 1)), module.schedule.epochs)
    words = {
        "train/loss": "loss {:.3f}",
        f"train/{module.monitor}": f"{module.monitor} {{:.3f}}",
        f"val/{module.monitor}": "val {:.3f}"
        if module.monitor in module.logged_names
        else f"val {module.monitor} {{:.3f}}",
        "lr": "lr {:.2g}",
        "images_per_second": "{:,.0f} img/s",
    }
    latest = dict(module.state.latest)
    shown = [text.format(latest[name]) for name, text in words.items() if name in latest]
    return "  ".join([f"epoch {epoch}/{module.schedule.epochs}", *shown, *([module.status] if module.status else [])])
