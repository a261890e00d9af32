"""Training state: what a checkpoint stores besides the weights."""

from __future__ import annotations

from math import inf, isfinite, isnan
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from dlzoo.core import distributed
from dlzoo.core.checksum import add_record
from dlzoo.engine.clock import TrainSchedule
from dlzoo.engine.loss_scale import LossScale

#: Batches between two validations, for Lightning, where there is to be none.
_NEVER = 2**62


class Best(NamedTuple):
    """The best validation score, the step that first reached it, and the last step that equalled it.

    Of epochs with equal scores the latest is selected: it has been trained for longest.
    """

    score: float
    reached: int
    clock: int

    @classmethod
    def after(cls, best: Best | None, score: float, clock: int) -> Best:
        """Return the best after one more validation."""
        score = -inf if isnan(score) else score
        if best is None or score > best.score:
            return cls(score, clock, clock)
        return best._replace(clock=clock) if score == best.score else best


class TrainState:
    """The clock, the values to be logged, and the best validation so far.

    Attributes:
        clock: optimizer steps done.
        window: the values of the module's `logged_names` for each micro-batch since the last log.
        last_logged_step: the step of the last log.
        records, checksum: number of records logged, and their checksum (core/checksum.py).
        latest: the last value of everything that was logged, and for the display the means of the unlogged window.
        best: the best validation so far.
        kept: (score, step) of the best validations, of which the checkpoints are kept, the best first.
        train_seconds, window_seconds: time spent in all steps, and in those since the last log.
        loss_scale: the scale of the loss, for fp16.
    """

    def __init__(self, loss_scale: LossScale | None = None) -> None:
        self.loss_scale = loss_scale
        self.clock = 0
        self.window: list[tuple[Tensor, ...]] = []
        self.last_logged_step = 0
        self.records = self.checksum = 0
        self.latest: dict[str, float] = {}
        self.best: Best | None = None
        self.kept: list[tuple[float, int]] = []
        self.train_seconds = self.window_seconds = 0.0

    def add_validation(self, score: float, *, defined: bool, keep: int | None) -> None:
        """Rank one more validation, and keep the `keep` best; without a defined score the latest is the best."""
        self.best = Best.after(self.best if defined else None, score, self.clock)
        score = 0.0 if not defined else -inf if isnan(score) else score
        self.kept = sorted([*self.kept, (score, self.clock)], reverse=True)[: keep or 0]

    def window_means(self) -> Tensor:
        """Return the mean of each logged name over the window, on this rank.

        All batches have the same size and nothing was averaged before: the result does not depend on where a run was
        stopped.
        """
        return torch.stack([torch.stack(column).float().mean() for column in zip(*self.window, strict=True)])

    def divergence(self, means: list[float]) -> str | None:
        """Return how the training has diverged, if it has: the beginning of a sentence, before a step."""
        if not all(map(isfinite, means)):
            return "the loss is not finite at"
        if self.loss_scale is not None and self.loss_scale.has_collapsed():
            return "the gradients are not finite, whatever the scale of the loss in fp16, at"
        return None

    @property
    def remedy(self) -> str:
        """Return a setting that a diverged training may need."""
        return "trainer.clip_norm=1" if self.loss_scale is None else "trainer.precision=fp32"

    def close_window(self) -> None:
        """Begin a new window, after a log."""
        self.train_seconds += self.window_seconds
        self.window, self.last_logged_step, self.window_seconds = [], self.clock, 0.0

    def add_record(self, values: dict[str, float]) -> None:
        """Count a record that is logged at the clock."""
        self.latest |= values
        self.records += 1
        self.checksum = add_record(self.checksum, self.clock, values)

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, including the windows of all ranks; every rank must call this."""
        columns = [torch.stack(column).cpu() for column in zip(*self.window, strict=True)]
        scaled = {} if self.loss_scale is None else {"loss_scale": self.loss_scale.state_dict()}
        return scaled | {
            "clock": self.clock,
            "window": distributed.all_gather(columns),
            "logged": self.last_logged_step,
            "records": self.records,
            "checksum": self.checksum,
            "latest": self.latest,
            "best": None if self.best is None else tuple(self.best),
            "train_seconds": self.train_seconds,
            "window_seconds": self.window_seconds,
            **({"kept": self.kept} if self.kept else {}),
        }

    def load_state_dict(self, state: dict[str, Any], rank: int) -> None:
        """Restore what `state_dict` returned, for the rank with index `rank`."""
        self.clock, self.last_logged_step = state["clock"], state["logged"]
        # Checkpoints of 0.1.0 have neither.
        self.records, self.checksum = state.get("records", 0), state.get("checksum", 0)
        self.window = list(zip(*(column.unbind() for column in state["window"][rank]), strict=True))
        self.latest, self.best = dict(state["latest"]), None if state["best"] is None else Best(*state["best"])
        self.kept = [(score, step) for score, step in state.get("kept", ())]
        self.train_seconds, self.window_seconds = state["train_seconds"], state["window_seconds"]
        if self.loss_scale is not None and "loss_scale" in state:  # the run may have started in another precision
            self.loss_scale.load_state_dict(state["loss_scale"])


def set_progress(trainer: pl.Trainer, schedule: TrainSchedule, clock: int) -> None:
    """Set Lightning's step to the clock, as it only counts steps of its own wrapper, and whether it validates now."""
    trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = clock
    trainer.val_check_batch = 1 if schedule.validates(clock) else _NEVER


def at_epoch_start(epoch: int) -> dict[str, Any]:
    """Return the progress of Lightning's loops after `epoch` epochs, at the start of the next one.

    Lightning counts ranges where we count steps, and how it resumes inside an epoch depends on where in the epoch it
    saved; so a checkpoint always says "at the start of an epoch", and the loader starts at the step of the clock.
    """
    done = dict.fromkeys(("ready", "started", "processed", "completed"), epoch)
    return {"fit_loop": {"epoch_progress": {"total": done, "current": done}}}
