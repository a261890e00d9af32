"""Define executors, which start `dlzoo run DIR` somewhere, and jobs, which know whether that has ended."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod

from dlzoo.config import Config
from dlzoo.runs.run_dir import RunDir


class Job(ABC):
    """A run that was submitted to an executor."""

    @abstractmethod
    def ended(self) -> bool:
        """Return whether the job is neither waiting nor running; False if that is unknown."""

    @abstractmethod
    def exit_reason(self) -> str | None:
        """Return why the job ended, in words, for a run that could not record it itself; None if it ended normally."""

    @abstractmethod
    def stop(self, at_once: bool = False) -> None:
        """Ask the run to save and exit, or kill it."""


class Executor(ABC):
    """Executes runs.

    `detached`: whether jobs keep running when this process exits. The name of such a job is in the run's job.json, by
    which the same sweep finds it again.
    """

    detached: bool
    #: Most runs at a time; None if the cluster decides.
    workers: int | None
    #: Cores of each process of a run that does not set trainer.threads.
    threads: int

    @abstractmethod
    def check(self, config: Config) -> None:
        """Check that this executor can execute such a run.

        Raises:
            UserError: if it cannot.
        """

    @abstractmethod
    def has_room(self, config: Config, going: int) -> bool:
        """Return whether a run of this config can start now, while `going` jobs are waiting or running."""

    @abstractmethod
    def start(self, run: RunDir, config: Config) -> Job:
        """Start a run.

        Raises:
            UserError, OSError: if the cluster or the machine refuses it.
        """

    def find(self, run: RunDir, name: dict[str, str]) -> Job | None:
        """Return the job with the name in job.json, if it was submitted to this kind of executor and has not ended."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """Describe the executor: "local, 2 at a time, 1 thread each"."""


def exit_reason_of(code: int, run: RunDir) -> str | None:
    """Return why a run's process ended, from its exit code; None if it ended normally."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{' (out of memory?)' if code == -signal.SIGKILL else ''}"
    if code in (0, 130):  # 130: it was asked to stop
        return None
    lines = run.output_file.read_text(errors="replace").strip().splitlines() if run.output_file.exists() else []
    return lines[-1] if lines else f"ended with exit code {code}"


def wants_gpu(config: Config) -> bool:
    """Return whether a run requests GPUs explicitly: `auto` is resolved only on the cluster."""
    return config["trainer"]["accelerator"] == "gpu"
