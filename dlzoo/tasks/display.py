"""What a person sees while a run trains."""

from __future__ import annotations

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TimeRemainingColumn
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from dlzoo.tasks.task import Task


class Display(pl.Callback):
    """A live bar on a terminal; one line an epoch elsewhere.

    The bar reads plain numbers four times a second from a thread of its own: a step costs nothing more for it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if self.console.is_terminal:
            columns = BarColumn(16), TaskProgressColumn(), TimeRemainingColumn(), _Facts(pl_module)
            self._progress = Progress(*columns, console=self.console, refresh_per_second=4)
            self._progress.add_task("", total=pl_module.plan.steps)
            self._progress.start()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        if self._progress is None:
            epoch = pl_module.clock // pl_module.plan.steps_per_epoch
            self.console.print(f"epoch {epoch}/{pl_module.plan.epochs}  {describe(pl_module)}", highlight=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class _Facts(ProgressColumn):
    """Epoch, losses, accuracies, rate and speed; also what moves the bar, so that both show the same moment."""

    max_refresh = 0.2

    def __init__(self, task: Task) -> None:
        super().__init__(Column(no_wrap=True))  # a narrow terminal cuts the end off
        self.task = task

    def render(self, task: Bar) -> Text:
        plan = self.task.plan
        task.completed = self.task.clock
        epoch = min(self.task.clock // plan.steps_per_epoch + 1, plan.epochs)
        return Text(f"epoch {epoch}/{plan.epochs}  {describe(self.task)}")


def describe(task: Task) -> str:
    """The latest numbers in a line."""
    words = (
        ("train/loss", "loss {:.3f}"),
        ("train/accuracy", "acc {:.3f}"),
        ("val/accuracy", "val acc {:.3f}"),
        ("lr", "lr {:.2g}"),
        ("images_per_second", "{:,.0f} img/s"),
    )
    latest = dict(task.latest)
    return "  ".join(text.format(latest[name]) for name, text in words if name in latest)
