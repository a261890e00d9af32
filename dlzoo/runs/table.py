"""Table of runs, from the run.json of each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import refusal, regular
from dlzoo.core.terminal import in_one_line
from dlzoo.runs.differences import differing_keys, flatten, format_value
from dlzoo.runs.logged import parse_record
from dlzoo.runs.run_dir import RunDir

_STYLES = {"finished": "green", "running": "cyan", "failed": "red", "damaged": "red", "interrupted": "yellow"}
#: Bytes at the end of a log that hold its last lines.
_TAIL = 32768


@dataclass(frozen=True)
class Row:
    """Row of the table: one run.

    Args:
        path: the run directory.
        record: its run.json; {"state": "damaged", "error": ...} if that cannot be read.
        logged: the last logged scalars, until it is finished.
    """

    path: Path
    record: dict[str, Any]
    logged: dict[str, float]

    @classmethod
    def of(cls, path: Path) -> Row:
        run = RunDir(path)
        try:
            record = run.read()
        except UserError as error:
            return cls(path, {"state": "damaged", "error": str(error), "config": {}}, {})
        return cls(path, record, {} if record["state"] == "finished" else _latest_values(run.metrics_file))

    @property
    def state(self) -> str:
        return self.record["state"]

    @property
    def word(self) -> str:
        """The state, as displayed."""
        return "waiting" if self.state == "created" else self.state

    @property
    def steps(self) -> tuple[int, int]:
        """(completed, total); total is 0 until it is known."""
        trainer = self.record["config"].get("trainer", {})
        total = self.record.get("steps_per_epoch", 0) * trainer.get("max_epochs", 0)
        total = min(total, trainer.get("max_steps") or total)
        return (total if self.state == "finished" else int(self.logged.get("step", 0))), total

    @property
    def metric(self) -> str:
        """The test result, or before the test the latest validation result."""
        monitor = self.record.get("monitor")
        measured = (self.record.get("metrics") or {}).get(f"test/{monitor}")
        return self.validation if measured is None else f"test {measured:.4f}"

    @property
    def validation(self) -> str:
        """The validation result of the selected weights, or before the end the latest."""
        key = f"val/{self.record.get('monitor')}"
        measured = (self.record.get("metrics") or {}).get(key, self.logged.get(key))
        return "" if measured is None else f"val {measured:.4f}{self.samples}"

    @property
    def samples(self) -> str:
        """The number of validation samples, " (n=144)"; empty if it is not recorded."""
        count = self.record.get("validated", self.record.get("data_sizes", {}).get("val"))
        return "" if count is None else f" (n={count})"

    @property
    def age(self) -> str:
        """Time since it ended, or was created."""
        then = self.record.get("finished") or self.record.get("created")
        return (
            ""
            if then is None
            else _format_age((datetime.now().astimezone() - datetime.fromisoformat(then)).total_seconds())
        )

    @property
    def error(self) -> str:
        """The last line of its error."""
        text = (self.record.get("error") or "").strip()
        return text.splitlines()[-1] if text else ""


def find(folder: Path) -> list[Path]:
    """Return the run directories under a folder (or the folder itself), sorted by name.

    Raises:
        UserError: if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder" if os.path.lexists(folder) else f"{folder}: folder not found")

    def unreadable(error: OSError) -> None:
        if error.filename == str(folder):
            raise error
        warnings.warn(f"{refusal(error)}; left out", Note, stacklevel=3)

    runs = []
    for root, folders, files in os.walk(folder, onerror=unreadable):
        if "run.json" in files and "config.yaml" in files:
            runs.append(Path(root))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(runs)


def rows(paths: Sequence[Path]) -> list[Row]:
    """Return a row for each run."""
    return [Row.of(path) for path in paths]


def cells(rows: Sequence[Row], base: Path) -> list[list[str]]:
    """Return the header and the cells of each row: state, progress, result, age, settings that differ, and the run."""
    keys = differing_keys([row.record["config"] for row in rows if row.state != "damaged"])
    # The name of a sweep's run repeats its settings, which are columns already.
    named = len({row.path.parent for row in rows}) > 1 or not all("=" in row.path.name for row in rows)
    header = ["state", "done", "result", "age", *keys, *(["run"] if named else [])]
    table = [header, *(_cells(row, keys) + ([_name(row.path, base)] if named else []) for row in rows)]
    return [[in_one_line(cell) for cell in line] for line in table]


def lines(rows: Sequence[Row], base: Path, width: int | None) -> list[Text]:
    """Return the lines of the table, at most `width` wide: those of `cells`, and the errors of runs."""
    table = []
    text_of = cells(rows, base)  # in one line each, so that columns are as wide as printed
    widths = [max(map(len, column)) for column in zip(*text_of, strict=True)]
    for number, line in enumerate(text_of):
        text = Text("  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            text.stylize("bold")
        else:
            text.stylize(_STYLES.get(line[0], ""), 0, len(line[0]))
        if width is not None:
            text.truncate(width, overflow="ellipsis")
        table.append(text)
        if number and (error := rows[number - 1].error) and rows[number - 1].state != "finished":
            table.append(Text(f"  {error}", style="dim"))
    return table


def show(console: Console, rows: Sequence[Row], base: Path) -> None:
    """Print the table; lines are truncated to the width of a terminal only."""
    for line in lines(rows, base, console.width if console.is_terminal else None):
        console.print(line, soft_wrap=True)


def count_states(rows: Sequence[Row]) -> str:
    """Count the states: "48 runs: 46 finished, 2 failed"."""
    states = [row.word for row in rows]
    parts = [f"{states.count(state)} {state}" for state in sorted(set(states), key=_ORDER.index)]
    return f"{len(rows)} run{'' if len(rows) == 1 else 's'}" + (f": {', '.join(parts)}" if parts else "")


_ORDER = ["finished", "running", "waiting", "interrupted", "failed", "damaged"]


def _name(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path != base else path.name


def _cells(row: Row, keys: Sequence[str]) -> list[str]:
    done, total = row.steps
    settings = flatten(row.record["config"])
    facts = [row.word, f"{done / total:.0%}" if total else "", row.metric, row.age]
    return [*facts, *(format_value(settings[key]) if key in settings else "" for key in keys)]


def _latest_values(file: Path) -> dict[str, float]:
    """Return the last value of each scalar in a log, read from its end."""
    try:
        with regular(file).open("rb") as log:
            log.seek(max(0, os.path.getsize(file) - _TAIL))
            tail = log.read().decode(errors="replace").splitlines()
    except OSError:
        return {}
    latest: dict[str, float] = {}
    for line in tail:
        latest |= parse_record(line) or {}  # the first line is cut off, and the last may be
    return latest


def _format_age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
