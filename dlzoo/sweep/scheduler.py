"""Schedule many runs: submit each of them once to an executor, and record failures that a run could not record."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.runs.kept_parts import check_sources
from dlzoo.runs.lock import Lock
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.executors.job import Executor, Job
from dlzoo.sweep.plan import PlannedRun

#: Seconds between two polls of the jobs, and until a run is tried again that another process has or that the executor
#: refused.
_LOOK, _LATER = 0.1, 2.0


@dataclass
class _ActiveRun:
    """A run whose job was started, or found running.

    Args:
        claim: held as long as the job would end with this process.
        began: when it was started, in seconds.
        given_up: why it was pruned; None if it was not.
    """

    planned: PlannedRun
    job: Job
    claim: Lock | None
    began: float
    given_up: str | None = None


class Scheduler:
    """Execute runs, each once, whatever other processes do to them meanwhile.

    A run is started by the process that holds its claim; the run's own process holds its lock. A run that another
    process has claimed or locked is left to it and waited for. A failure of one run does not stop the others. On
    exit, jobs that are not detached are asked to stop.
    """

    def __init__(self, executor: Executor, display: SweepDisplay) -> None:
        self._executor, self._display = executor, display
        self._waiting: dict[Path, PlannedRun] = {}
        self._not_before: dict[Path, float] = {}
        self._repeated: set[Path] = set()
        self._elsewhere: set[Path] = set()
        self._active: dict[Path, _ActiveRun] = {}
        self._labels: dict[Path, str] = {}
        self._ended = 0
        self._stopping = False

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for active in self._active.values():
            if not self._executor.detached:
                active.job.stop()
            if active.claim is not None:
                active.claim.release()

    @property
    def busy(self) -> bool:
        """Whether some runs have not ended."""
        return bool(self._waiting or self._active)

    @property
    def active(self) -> list[Path]:
        """The runs whose jobs are active."""
        return list(self._active)

    def has_room(self, config: dict[str, Any]) -> bool:
        """Return whether a run would start at once."""
        return not self._waiting and self._executor.has_room(config, len(self._active))

    def add(self, planned: PlannedRun, label: str) -> None:
        """Add a run, whose directory exists. A run that failed before is tried again, once."""
        self._waiting[planned.path], self._labels[planned.path] = planned, label
        if Row.of(planned.path).state == "failed":
            self._repeated.add(planned.path)

    def poll(self) -> list[Row]:
        """Start the runs that can start; return those that ended since the last call."""
        ended = [row for active in list(self._active.values()) if (row := self._settled(active)) is not None]
        now = time.monotonic()
        for path, planned in list(self._waiting.items()):
            if self._not_before.get(path, 0) <= now and self._executor.has_room(planned.config, len(self._active)):
                try:
                    is_over = self._start(planned)
                except (UserError, OSError) as error:  # its folder is gone, the disk is full, the cluster refuses it
                    is_over = self._not_started(planned, str(error))
                if is_over:
                    ended.append(self._end(path))
        self._display.update(self._ended, {path: self._labels[path] for path in self._active})
        time.sleep(_LOOK)
        return ended

    def give_up(self, path: Path, why: str) -> None:
        """Stop a run and do not resume it."""
        active = self._active[path]
        if active.given_up is None:
            active.given_up = why
            active.job.stop()

    def stop(self) -> None:
        """Ask the jobs that are not detached to save and exit, and wait for them; a second Ctrl-C kills them."""
        self._stopping = True
        if self._executor.detached or not self._active:
            return
        runs = f"{len(self._active)} run{'s' if len(self._active) > 1 else ''}"
        self._display.line(f"saving {runs} before exit; press Ctrl-C again to kill them")
        try:
            self._wait(at_once=False)
        except KeyboardInterrupt:
            self._wait(at_once=True)

    def _wait(self, at_once: bool) -> None:
        for active in self._active.values():
            active.job.stop(at_once)
        while self._active:
            for active in list(self._active.values()):
                self._settled(active)
            time.sleep(_LOOK)

    def _start(self, planned: PlannedRun) -> bool:
        """Start a run, find its job, or leave it to another process; return whether it has ended already."""
        path, run = planned.path, RunDir(planned.path)
        claim = run.claim()
        if claim is None:
            return self._leave(planned)
        try:
            state = run.read()["state"]
            if state == "running":
                return self._leave(planned)
            if state == "finished" or (state == "failed" and path not in self._repeated):
                return True
            name = run.job()
            job = (self._executor.find(run, name) if name else None) or self._executor.start(run, planned.config)
            del self._waiting[path]
            self._repeated.discard(path)
            self._active[path] = _ActiveRun(planned, job, None if self._executor.detached else claim, time.monotonic())
            return False
        finally:
            if path not in self._active or self._executor.detached:
                claim.release()

    def _leave(self, planned: PlannedRun) -> bool:
        """Leave a run to the process that has it, and try again later."""
        path = planned.path
        if path not in self._elsewhere:
            self._elsewhere.add(path)
            self._display.line(f"elsewhere   {self._labels[path]}: waiting for another process that runs it")
        self._waiting[path], self._not_before[path] = planned, time.monotonic() + _LATER
        return False

    def _not_started(self, planned: PlannedRun, why: str) -> bool:
        """Try a run that could not be started again later if other jobs are active, else record that it failed."""
        if self._active:
            self._not_before[planned.path] = time.monotonic() + _LATER
            return False
        _record_end(RunDir(planned.path), "failed", why)
        return True

    def _settled(self, active: _ActiveRun) -> Row | None:
        """Return the row of a run whose job has ended, else None."""
        if not active.job.ended():
            return None
        path = active.planned.path
        del self._active[path]
        try:
            state = Row.of(path).state
            if state == "running":  # another process started it first, and our job exited
                self._leave(active.planned)
                return None
            if state not in ("finished", "failed", "damaged") and not self._stopping:
                if active.given_up is not None:
                    _record_end(RunDir(path), "interrupted", active.given_up)
                else:
                    _record_end(RunDir(path), "failed", active.job.exit_reason() or "it was killed by another process")
            return self._end(path, time.monotonic() - active.began)
        finally:
            if active.claim is not None:
                active.claim.release()

    def _end(self, path: Path, seconds: float | None = None) -> Row:
        self._waiting.pop(path, None)
        self._ended += 1
        row = Row.of(path)
        self._display.ended(row, self._labels[path], seconds)
        return row


def execute_runs(
    runs: Iterable[PlannedRun], labels: dict[Path, str], executor: Executor, display: SweepDisplay
) -> None:
    """Execute runs in order, until each has ended, here or in another process.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the jobs that are not detached have saved.
    """
    with Scheduler(executor, display) as scheduler:
        for run in runs:
            scheduler.add(run, labels[run.path])
        try:
            while scheduler.busy:
                scheduler.poll()
        except KeyboardInterrupt:
            scheduler.stop()
            raise


def create(runs: Iterable[PlannedRun]) -> None:
    """Create the directories of runs that have none; another sweep may do the same at the same time.

    Raises:
        UserError: if one cannot be written.
    """
    for run in runs:
        if not run.path.exists():
            check_sources(run.config)
            try:
                RunDir.create(run.path, run.config)
            except UserError:
                if not RunDir(run.path).state_file.exists():
                    raise


def _record_end(run: RunDir, state: str, error: str) -> None:
    """Record how a run ended that could not record it itself, unless it did or another process has it."""
    try:
        with run.lock():
            if run.read()["state"] not in ("finished", "failed"):
                run.update(state=state, error=error)
    except (UserError, OSError):  # its folder is gone, or another process has it
        pass
