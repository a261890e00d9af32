"""Many runs as a table."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from dlzoo.api.run import Run
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.runs import table
from dlzoo.runs.differences import differing_keys, flatten
from dlzoo.runs.table import Row


def runs(folder: str | os.PathLike[str] = "outputs") -> RunTable:
    """Return the table of the runs in a folder, at any depth.

    Raises:
        UserError: if there is no such folder.
    """
    path = Path(folder).expanduser()
    return RunTable(path, table.rows(table.find(path)))


class RunTable(Sequence[Run]):
    """The runs of a folder, as `dlzoo runs` lists them; each is a `Run`. A notebook shows the table.

    Args:
        folder: the folder that was searched.
        rows: what run.json and the log of each run said when the table was made.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self.folder, self._rows = folder, list(rows)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each run: run (its path), state, the settings that differ, and its metrics."""
        keys = differing_keys([row.record["config"] for row in self._rows if row.state != "damaged"])
        settings = [flatten(row.record["config"]) for row in self._rows]
        return [
            {"run": str(row.path), "state": row.state}
            | {key: each.get(key) for key in keys}
            | {name: math.nan if value is None else value for name, value in _metrics(row).items()}
            for row, each in zip(self._rows, settings, strict=True)
        ]

    def sort(self, metric: str, *, best_first: bool = True) -> RunTable:
        """Return the table sorted by a metric, such as "test/accuracy"; runs without it are last.

        Raises:
            UserError: if no run has the metric.
        """
        known = dict.fromkeys(name for row in self._rows for name in _metrics(row))
        if metric not in known:
            raise UserError(f"{self.folder}: no run has measured {metric!r}; {did_you_mean(metric, known)}")
        described = index.metrics().get(metric.rpartition("/")[2])
        sign = 1 if (described is None or described.higher_is_better) == best_first else -1

        def place(row: Row) -> float:
            value = _metrics(row).get(metric)
            return math.inf if value is None else -sign * value

        return RunTable(self.folder, sorted(self._rows, key=place))

    def to_pandas(self) -> Any:
        """Return `rows` as a pandas DataFrame.

        Raises:
            UserError: if pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise UserError("to_pandas needs pandas, which is not installed: pip install pandas") from error
        return pandas.DataFrame(self.rows)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> RunTable: ...
    def __getitem__(self, place: int | slice) -> Run | RunTable:
        if isinstance(place, slice):
            return RunTable(self.folder, self._rows[place])
        return Run(self._rows[place].path)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        if not self._rows:
            return table.count_states([])
        lines = [line.plain for line in table.lines(self._rows, self.folder, None)]
        return "\n".join([*lines, table.count_states(self._rows)])

    def _repr_html_(self) -> str:
        if not self._rows:
            return f"<p>{table.count_states([])}</p>"
        header, *body = table.cells(self._rows, self.folder)
        head = "".join(f"<th>{escape(name)}</th>" for name in header)
        rows = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in body)
        count = escape(table.count_states(self._rows))
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n<p>{count}</p>"


def _metrics(row: Row) -> dict[str, float | None]:
    return row.record.get("metrics") or {}
