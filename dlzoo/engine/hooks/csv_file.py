"""A table of the logged numbers in the run directory. The module imports no torch: the follower uses it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.files import replacing
from dlzoo.core.registries import HOOKS
from dlzoo.engine.hooks.follower_hook import FollowerHook
from dlzoo.engine.hooks.hook import Hook, Record
from dlzoo.engine.hooks.sender import FollowedRun, Sender


class CsvSender(Sender):
    """Appends a row for each record. A metric that is new adds a column, for which the file is written anew."""

    def __init__(self, path: str) -> None:
        self._name = path

    def starts_over(self, memory: dict[str, Any]) -> bool:
        return True  # so that the table has what metrics.jsonl has, also after a kill

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        self._path, self._columns = run.dir / self._name, list[str]()
        self._path.unlink(missing_ok=True)

    def send(self, records: Sequence[Record]) -> None:
        columns = list(dict.fromkeys([*self._columns, *(name for record in records for name in record)]))
        rows = [{name: "nan" if value is None else value for name, value in record.items()} for record in records]
        if columns == self._columns:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, columns).writerows(rows)
            return
        with replacing(self._path) as aside:
            _write(aside, columns, [*_read(self._path), *rows])
        self._columns = columns


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


@HOOKS.register("csv", source="RFC 4180")
def csv_table(*, path: str = "metrics.csv") -> Hook:
    """A table of the logged numbers, a row for each record and a column for each metric.

    `path`: the name of the file, in the run directory. It has what metrics.jsonl has: a number that was not finite is
    nan, one that was not measured is left out.

    Raises:
        UserError: if `path` is not the name of a .csv file.
    """
    if Path(path).name != path or not path.endswith(".csv"):  # no other file of a run directory is called so
        raise UserError(f"hook.csv.path={path}: it must be the name of a file in the run directory that ends with .csv,"
                        " such as metrics.csv")  # fmt: skip
    return FollowerHook("csv", f"{__name__}:CsvSender", {"path": path})
