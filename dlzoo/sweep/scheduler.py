"""The parent of many runs: it gives them to an executor, each once, and writes down what they could not."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.runs.lock import Lock
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.executors.job import Executor, Job
from dlzoo.sweep.plan import Planned

#: Seconds between two looks at the jobs, and until a run is tried again that another process has, or that the executor
#: had no place for after all.
_LOOK, _LATER = 0.1, 2.0


@dataclass
class _Going:
    """A run that was started, or found started.

    Args:
        claim: held for as long as the job would end with us.
        began: when we started it, in seconds.
        given_up: why it was asked to stop for good.
    """

    planned: Planned
    job: Job
    claim: Lock | None
    began: float
    given_up: str | None = None


class Parent:
    """Carries out runs, each once, whatever other processes do to them meanwhile.

    A run is started by whoever holds its claim; its own process holds its lock. One that is claimed or locked by
    somebody else is left to them and waited for. What goes wrong with one run is that run's end, and nobody else's.
    On leaving, runs that would end with us are asked to.
    """

    def __init__(self, executor: Executor, display: SweepDisplay) -> None:
        self._executor, self._display = executor, display
        self._waiting: dict[Path, Planned] = {}
        self._not_before: dict[Path, float] = {}
        self._repeated: set[Path] = set()
        self._elsewhere: set[Path] = set()
        self._going: dict[Path, _Going] = {}
        self._labels: dict[Path, str] = {}
        self._ended = 0
        self._stopping = False

    def __enter__(self) -> Parent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for going in self._going.values():
            if not self._executor.detached:
                going.job.stop()
            if going.claim is not None:
                going.claim.release()

    @property
    def busy(self) -> bool:
        """Whether some runs have not ended."""
        return bool(self._waiting or self._going)

    @property
    def going(self) -> list[Path]:
        """The runs that are being carried out by us."""
        return list(self._going)

    def has_room(self, config: dict[str, Any]) -> bool:
        """Whether a run would start at once."""
        return not self._waiting and self._executor.has_room(config, len(self._going))

    def add(self, planned: Planned, label: str) -> None:
        """Carry out a run, whose directory exists. One that failed before is tried again, once."""
        self._waiting[planned.path], self._labels[planned.path] = planned, label
        if Row.of(planned.path).state == "failed":
            self._repeated.add(planned.path)

    def look(self) -> list[Row]:
        """Start what can be started; the runs that ended since the last look."""
        ended = [row for going in list(self._going.values()) if (row := self._settled(going)) is not None]
        now = time.monotonic()
        for path, planned in list(self._waiting.items()):
            if self._not_before.get(path, 0) <= now and self._executor.has_room(planned.config, len(self._going)):
                try:
                    over = self._take(planned)
                except (UserError, OSError) as error:  # its folder is gone, the disk is full, the cluster refuses it
                    over = self._refused(planned, str(error))
                if over:
                    ended.append(self._end(path))
        self._display.update(self._ended, {path: self._labels[path] for path in self._going})
        time.sleep(_LOOK)
        return ended

    def give_up(self, path: Path, why: str) -> None:
        """Stop a run for good."""
        going = self._going[path]
        if going.given_up is None:
            going.given_up = why
            going.job.stop()

    def stop(self) -> None:
        """Ask the runs that would end with us to save and end, and wait for them; a second Ctrl-C does not wait."""
        self._stopping = True
        if self._executor.detached or not self._going:
            return
        self._display.line(f"stopping: {len(self._going)} run(s) save and end; Ctrl-C again ends them at once")
        try:
            self._wait(at_once=False)
        except KeyboardInterrupt:
            self._wait(at_once=True)

    def _wait(self, at_once: bool) -> None:
        for going in self._going.values():
            going.job.stop(at_once)
        while self._going:
            for going in list(self._going.values()):
                self._settled(going)
            time.sleep(_LOOK)

    def _take(self, planned: Planned) -> bool:
        """Start a run, find the job that has it, or leave it to another process; whether it is over already."""
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
            self._going[path] = _Going(planned, job, None if self._executor.detached else claim, time.monotonic())
            return False
        finally:
            if path not in self._going or self._executor.detached:
                claim.release()

    def _leave(self, planned: Planned) -> bool:
        """To the process that has it."""
        path = planned.path
        if path not in self._elsewhere:
            self._elsewhere.add(path)
            self._display.line(f"elsewhere   {self._labels[path]}: another process has it, and we wait")
        self._waiting[path], self._not_before[path] = planned, time.monotonic() + _LATER
        return False

    def _refused(self, planned: Planned, why: str) -> bool:
        """A run that could not be started: later, where something of ours has to end first; or never."""
        if self._going:
            self._not_before[planned.path] = time.monotonic() + _LATER
            return False
        _write_verdict(RunDir(planned.path), "failed", why)
        return True

    def _settled(self, going: _Going) -> Row | None:
        """What a job left, if it is over."""
        if not going.job.over():
            return None
        path = going.planned.path
        del self._going[path]
        try:
            state = Row.of(path).state
            if state == "running":  # another process was faster, and ours went away
                self._leave(going.planned)
                return None
            if state not in ("finished", "failed", "damaged") and not self._stopping:
                if going.given_up is not None:
                    _write_verdict(RunDir(path), "interrupted", going.given_up)
                else:
                    _write_verdict(RunDir(path), "failed", going.job.fate() or "it was stopped from outside")
            return self._end(path, time.monotonic() - going.began)
        finally:
            if going.claim is not None:
                going.claim.release()

    def _end(self, path: Path, seconds: float | None = None) -> Row:
        self._waiting.pop(path, None)
        self._ended += 1
        row = Row.of(path)
        self._display.ended(row, self._labels[path], seconds)
        return row


def carry_out(runs: Iterable[Planned], labels: dict[Path, str], executor: Executor, display: SweepDisplay) -> None:
    """Carry out runs, in their order, until each has ended, here or elsewhere.

    Raises:
        KeyboardInterrupt: when somebody stopped it, after the runs that would end with us have saved.
    """
    with Parent(executor, display) as parent:
        for run in runs:
            parent.add(run, labels[run.path])
        try:
            while parent.busy:
                parent.look()
        except KeyboardInterrupt:
            parent.stop()
            raise


def create(runs: Iterable[Planned]) -> None:
    """Write the directories of runs that have none; another sweep may be at it as well.

    Raises:
        UserError: if one cannot be written.
    """
    for run in runs:
        if not run.path.exists():
            try:
                RunDir.create(run.path, run.config)
            except UserError:
                if not RunDir(run.path).state_file.exists():
                    raise


def _write_verdict(run: RunDir, state: str, error: str) -> None:
    """How a run ended that could not say so itself, unless it did after all or somebody goes on with it."""
    try:
        with run.lock():
            if run.read()["state"] not in ("finished", "failed"):
                run.update(state=state, error=error)
    except (UserError, OSError):  # its folder is gone, or another process has it
        pass
