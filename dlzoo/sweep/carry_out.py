"""The parent of a sweep: it gives runs to an executor until each has ended, and writes down what they could not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dlzoo.errors import UserError
from dlzoo.executors.job import Executor, Job
from dlzoo.runs.run_dir import Lock, RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.plan import Planned

#: Seconds between two looks at the jobs, and at the runs that another process has.
_LOOK, _LOOK_ELSEWHERE = 0.1, 1.0


class Parent:
    """Carries out what is not finished of some runs, each once, whatever other sweeps do to them meanwhile.

    A run is started by whoever holds its claim. Its own process holds its lock; so a run that is claimed or locked by
    somebody else is left to them and waited for.

    Args:
        runs: in the order in which they are to start; their directories exist.
        labels: what to call each in print.
    """

    def __init__(
        self, runs: Sequence[Planned], labels: dict[Path, str], executor: Executor, display: SweepDisplay
    ) -> None:
        self._labels, self._executor, self._display = labels, executor, display
        self._waiting = {run.path: run for run in runs}
        self._jobs: dict[Path, tuple[Job, Lock | None]] = {}
        self._elsewhere: dict[Path, float] = {}
        self._ended = 0
        self._stopping = False

    def carry_out(self) -> None:
        """Until every run has ended, here or elsewhere.

        Raises:
            KeyboardInterrupt: when somebody stopped it, after the runs of this machine have saved.
        """
        try:
            while self._waiting or self._jobs:
                self._step()
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            for job, claim in self._jobs.values():
                if not self._executor.detached:
                    job.stop()
                if claim is not None:
                    claim.release()

    def _step(self) -> None:
        for path, (job, claim) in list(self._jobs.items()):
            if job.over():
                self._settle(path, job, claim)
        now = time.monotonic()
        for path, run in list(self._waiting.items()):
            if self._elsewhere.get(path, 0) <= now and self._executor.has_room(run.config):
                self._take(run)
        self._display.update(self._ended, [(path, self._labels[path]) for path in self._jobs])

    def _take(self, planned: Planned) -> None:
        """Start a run, find the job that has it, or leave it to another process."""
        run = RunDir(planned.path)
        claim = run.claim()
        state = "claimed" if claim is None else run.read()["state"]
        if claim is None or state == "running":
            self._leave(planned.path, claim)
        elif state == "finished" or (state == "failed" and planned.path in self._elsewhere):
            claim.release()
            self._end(planned.path)
        else:
            name = run.read().get("job")
            job = (self._executor.find(run, name) if name else None) or self._executor.start(run, planned.config)
            if self._executor.detached:
                claim.release()
            del self._waiting[planned.path]
            self._jobs[planned.path] = (job, None if self._executor.detached else claim)

    def _leave(self, path: Path, claim: Lock | None) -> None:
        if claim is not None:
            claim.release()
        if path not in self._elsewhere:
            self._display.line(f"elsewhere   {self._labels[path]}: another process has it, and we wait")
        self._elsewhere[path] = time.monotonic() + _LOOK_ELSEWHERE

    def _settle(self, path: Path, job: Job, claim: Lock | None) -> None:
        """A job is over; what it left."""
        del self._jobs[path]
        run, fate = RunDir(path), job.fate()
        state = run.read()["state"]
        try:
            if state == "running":  # another process was faster, and ours went away
                self._waiting[path] = Planned([], run.read()["config"], path)
                self._leave(path, None)
                return
            if state not in ("finished", "failed") and not self._stopping:
                run.update(state="failed", error=fate or "it was stopped from outside")
            self._end(path)
        finally:
            if claim is not None:
                claim.release()

    def _end(self, path: Path) -> None:
        self._waiting.pop(path, None)
        self._ended += 1
        self._display.ended(Row.of(path), self._labels[path])

    def _stop(self) -> None:
        """Ask the runs of this machine to save and end, and wait for them; a second Ctrl-C does not wait."""
        self._stopping = True
        if self._executor.detached:
            return
        self._display.line(f"stopping: {len(self._jobs)} run(s) save and end; Ctrl-C again ends them at once")
        for job, _ in self._jobs.values():
            job.stop()
        try:
            self._wait_for_jobs()
        except KeyboardInterrupt:
            for job, _ in self._jobs.values():
                job.stop(at_once=True)
            self._wait_for_jobs()

    def _wait_for_jobs(self) -> None:
        while self._jobs:
            for path, (job, claim) in list(self._jobs.items()):
                if job.over():
                    self._settle(path, job, claim)
            time.sleep(_LOOK)


def create(runs: Sequence[Planned]) -> None:
    """Write the directories of runs that have none; another sweep may be at it as well.

    Raises:
        UserError: if one cannot be written.
    """
    for run in runs:
        if not run.path.exists():
            try:
                RunDir.create(run.path, run.config)
            except UserError:
                if not (run.path / "run.json").exists():
                    raise
