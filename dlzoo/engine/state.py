"""How far a training is: what a checkpoint says beside the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlzoo.core import distributed


class Best(NamedTuple):
    """The best validation score, the step that reached it first, and the last that equalled it.

    Of equal epochs the later one is selected: it has learnt for longer.
    """

    score: float
    reached: int
    clock: int

    @classmethod
    def after(cls, best: Best | None, score: float, clock: int) -> Best:
        """The best after one more validation."""
        if best is None or score > best.score:
            return cls(score, clock, clock)
        return best._replace(clock=clock) if score == best.score else best


class TrainState:
    """The clock, what is to be logged, and what validation has shown so far.

    Attributes:
        clock: optimizer steps done.
        window: what each micro-batch since the last log had of the module's `logged_names`.
        logged: the step of the last log.
        latest: the last value of everything that was logged.
        best: the best validation so far.
        train_seconds, window_seconds: spent in steps, and in those since the last log.
    """

    def __init__(self) -> None:
        self.clock = 0
        self.window: list[tuple[Tensor, ...]] = []
        self.logged = 0
        self.latest: dict[str, float] = {}
        self.best: Best | None = None
        self.train_seconds = self.window_seconds = 0.0

    def window_means(self) -> Tensor:
        """The mean of each logged name over the window, of this rank.

        All batches are of one size, and their numbers were put together nowhere else: the result does not depend on
        where a run was stopped.
        """
        return torch.stack([torch.stack(column).float().mean() for column in zip(*self.window, strict=True)])

    def close_window(self) -> None:
        """Begin a new window: the last one is logged."""
        self.train_seconds += self.window_seconds
        self.window, self.logged, self.window_seconds = [], self.clock, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, the windows of all ranks among them; every rank calls this."""
        columns = [torch.stack(column).cpu() for column in zip(*self.window, strict=True)]
        return {
            "clock": self.clock,
            "window": distributed.all_gather(columns),
            "logged": self.logged,
            "latest": self.latest,
            "best": None if self.best is None else tuple(self.best),
            "train_seconds": self.train_seconds,
            "window_seconds": self.window_seconds,
        }

    def load_state_dict(self, state: dict[str, Any], rank: int) -> None:
        """Continue from what `state_dict` returned, as the rank of this number."""
        self.clock, self.logged = state["clock"], state["logged"]
        self.window = list(zip(*(column.unbind() for column in state["window"][rank]), strict=True))
        self.latest, self.best = dict(state["latest"]), None if state["best"] is None else Best(*state["best"])
        self.train_seconds, self.window_seconds = state["train_seconds"], state["window_seconds"]


def at_epoch_start(epoch: int) -> dict[str, Any]:
    """What Lightning's loops are to know when `epoch` epochs are done and nothing of the next one.

    Lightning counts ranges where we count steps, and its way to resume inside an epoch depends on where in an epoch it
    saved; so a checkpoint always says "at the start of an epoch", and the loader starts where the clock stands.
    """
    done = dict.fromkeys(("ready", "started", "processed", "completed"), epoch)
    return {"fit_loop": {"epoch_progress": {"total": done, "current": done}}}
