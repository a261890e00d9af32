"""Show the progress of a sweep."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from dlzoo.core.notebook import NotebookBar, in_notebook
from dlzoo.runs.table import Row

#: Seconds between two updates.
_LOOK = 0.5


class SweepDisplay:
    """Print one line per run that has ended, and on a terminal a progress bar for each active run.

    Args:
        total: number of runs.
        selecting: whether one run will be selected by its validation result: validation results are shown then, not
            test results.
    """

    def __init__(self, console: Console, total: int, *, selecting: bool = False) -> None:
        self._selecting = selecting
        self.console, self._bars = console, dict[Path, TaskID]()
        columns = (BarColumn(16), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, transient=True, refresh_per_second=4)
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._notebook = NotebookBar() if in_notebook() and not console.quiet else None
        self._total, self._done = total, 0
        self._looked = 0.0
        self._all = self._progress.add_task("", total=total)

    def __enter__(self) -> SweepDisplay:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()
        if self._notebook is not None:
            self._notebook.update(self._done / max(self._total, 1), f"runs: {self._done} of {self._total} ended")

    def line(self, text: str) -> None:
        self.console.print(Text(text), soft_wrap=True)

    def ended(self, row: Row, label: str, seconds: float | None) -> None:
        """Print the line of a run that has ended, `seconds` after it was started."""
        self._done += 1
        facts = [
            label,
            row.validation if self._selecting else row.metric,
            "" if seconds is None else f"{seconds:.0f} s",
            row.error,
        ]
        self.line(f"{row.word:<12}" + "  ".join(fact for fact in facts if fact))

    def update(self, done: int, now: Mapping[Path, str]) -> None:
        """Show the progress of the sweep and of the active runs."""
        if time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        if self._notebook is not None:
            self._notebook.update(done / max(self._total, 1), f"runs: {done} of {self._total} ended, {len(now)} active")
        if not self._live:
            return
        self._progress.update(self._all, completed=done, description=f"runs: {done} ended, {len(now)} active")
        for path in set(self._bars) - set(now):
            self._progress.remove_task(self._bars.pop(path))
        for path, label in now.items():
            row = Row.of(path)
            done_steps, steps = row.steps
            if path not in self._bars:
                self._bars[path] = self._progress.add_task("", total=None)
            self._progress.update(
                self._bars[path],
                total=steps or None,
                completed=done_steps,
                description=f"{label}  {row.metric or 'starting'}",
            )
