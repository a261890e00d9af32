"""The base class of hooks. It imports no torch, because processes beside the training use it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A line of metrics.jsonl: "step", "epoch", "time" in seconds since 1970, and the logged values by name.
Record = Mapping[str, Any]


@dataclass(frozen=True)
class HookStart:
    """The state of a run as its training starts or resumes.

    Args:
        run_dir: the run directory.
        config: the frozen config.
        step: number of optimizer steps that are done: 0, or those of the checkpoint that the run resumes from.
        records: what was logged up to that step.
        reused: whether the training was copied from another run, so that no hook of this run has seen `records`.
    """

    run_dir: Path
    config: Mapping[str, Any]
    step: int
    records: Sequence[Record] = ()
    reused: bool = False


class Hook:
    """Something that happens beside a training. A subclass overrides the methods that it needs.

    Hooks are called in the process of rank 0. One that raises an exception is reported in a note and switched off; the
    training goes on. A hook that has to change the training is a Lightning callback instead.
    """

    def fit_start(self, start: HookStart) -> None:
        """Called before the first step, also of a resumed run."""

    def log(self, record: Record) -> None:
        """Called for each record: every `trainer.log_every` steps, after each validation and after the test."""

    def epoch_end(self, step: int) -> None:
        """Called at the end of each epoch, after its validation; `step` is the number of steps done."""

    def checkpoint(self, path: Path) -> None:
        """Called when a checkpoint is complete on disk, by the thread that writes checkpoints."""

    def plot(self, name: str, path: Path, step: int) -> None:
        """Called for each plot, with the PNG file that it was written to, after the test."""

    def fit_end(self, metrics: Mapping[str, float]) -> None:
        """Called once the run is trained and tested, with its final metrics."""

    def exception(self, error: BaseException) -> None:
        """Called instead of `fit_end` if the run fails, or is stopped (dlzoo.core.errors.Interrupted)."""
