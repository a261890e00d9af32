"""The contract of an executor: it starts `dlzoo run DIR` somewhere, and can say whether that is over."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from typing import Any

from dlzoo.runs.run_dir import RunDir

Config = dict[str, Any]


class Job(ABC):
    """A run that an executor was given."""

    @abstractmethod
    def over(self) -> bool:
        """Whether nothing of it is waiting or running any more; not, where nobody can say."""

    @abstractmethod
    def fate(self) -> str | None:
        """What ended it, once it is over, in words for when the run could not say so itself."""

    @abstractmethod
    def stop(self, at_once: bool = False) -> None:
        """Ask the run to save and end, or end it."""


class Executor(ABC):
    """Carries out runs.

    `detached`: whether they go on when we are gone. What such a job is called is in the run's job.json, by which the
    same sweep finds it again.
    """

    detached: bool
    #: Runs at a time; None: the cluster says.
    workers: int | None
    #: Cores of each process of a run that does not say trainer.threads.
    threads: int

    @abstractmethod
    def check(self, config: Config) -> None:
        """Whether this executor can carry such a run out.

        Raises:
            UserError: if it never can.
        """

    @abstractmethod
    def has_room(self, config: Config, going: int) -> bool:
        """Whether a run of this config can be started now, while so many are waiting or running."""

    @abstractmethod
    def start(self, run: RunDir, config: Config) -> Job:
        """Start a run.

        Raises:
            UserError, OSError: if the cluster or the machine refuses it now.
        """

    def find(self, run: RunDir, name: dict[str, str]) -> Job | None:
        """The job that somebody gave to this executor under the name that job.json has, if it is not over."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """In words: "2 at a time, each with 1 thread"."""


def fate_of(code: int, run: RunDir) -> str | None:
    """What the exit code of a run's process says."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{' (out of memory?)' if code == -signal.SIGKILL else ''}"
    if code in (0, 130):  # 130: it was asked to stop
        return None
    said = run.output_file.read_text(errors="replace").strip().splitlines() if run.output_file.exists() else []
    return said[-1] if said else f"ended with exit code {code}"


def wants_gpu(config: Config) -> bool:
    """Whether a run asks for GPUs in so many words: on a cluster, `auto` cannot look before it is there."""
    return config["trainer"]["accelerator"] == "gpu"
