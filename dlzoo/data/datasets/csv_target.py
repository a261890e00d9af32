"""What the target of a CSV file is: classes or numbers. It is found out before a run is created, without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.data.datasets.csv_file import CsvFile, join_booleans, read_csv
from dlzoo.data.datasets.csv_numbers import Spelling, other_spelling

#: A target of integers with more distinct values than this is a quantity; with fewer they are classes.
_NAMES = 20
#: Below this ratio of distinct words to distinct numbers, the words in a column are taken to be mistakes.
_STRAY = 0.1


def task_of(task: str, train: CsvFile, targets: tuple[str, ...]) -> str:
    """Return the task of the training table: `task`, or for "auto" that of its targets.

    Raises:
        UserError: as `words_in`.
    """
    name, *others = targets
    if others or task != "auto":
        return "regress" if others else task
    if words_in(train, name):
        return "classify"
    numbers = {number for cell in train.cells[name] if (number := train.spelling.number(cell)) is not None}
    return "regress" if len(numbers) > _NAMES or not all(map(float.is_integer, numbers)) else "classify"


def task_in_file(settings: Mapping[str, Any]) -> str | None:
    """Return the task of data=csv with these settings; None if its file cannot be read, which is an error later."""
    target, path = settings["target"], settings["path"]
    if settings["task"] != "auto":
        return settings["task"]
    if not target or not path:
        return None
    try:
        targets = (target,) if isinstance(target, str) else tuple(target)
        state = os.stat(os.path.expanduser(path))
        spelled = (settings["delimiter"], tuple(settings["missing"]), settings["decimal"], settings["thousands"])
        return _task_in_file(path, targets, spelled, (state.st_mtime_ns, state.st_size))
    except (OSError, ValueError, TypeError, KeyError, UserError):
        return None


@lru_cache(maxsize=16)  # the runs of a sweep read the same file
def _task_in_file(path: str, targets: tuple[str, ...], spelled: tuple[Any, ...], state: tuple[int, int]) -> str:
    delimiter, missing, decimal, thousands = spelled
    table = read_csv(path, "data.path", delimiter, missing, Spelling(decimal, thousands))
    join_booleans([table])
    return task_of("auto", table, targets)


def words_in(table: CsvFile, name: str) -> list[int]:
    """Return the rows of a column in which there is text other than a number.

    Raises:
        UserError: for numbers in another spelling, and for a few words among many numbers: likely missing values that
            data.missing does not name.
    """
    cells, number_in = table.cells[name], table.spelling.number
    rows = [row for row, cell in enumerate(cells) if cell and number_in(cell) is None]
    if rows:
        refuse_other_spelling(table, name)
    words = {cells[row] for row in rows}
    numbers = set(cells) - words - {""}
    if words and len(numbers) > _NAMES and len(words) < _STRAY * len(numbers):
        raise UserError(
            f"{table.at(rows[0])}: {name!r} is {cells[rows[0]]!r}, among {len(numbers)} different numbers;"
            f" correct it, add it to data.missing, or leave out the row or the column"
        )
    return rows


def refuse_other_spelling(table: CsvFile, name: str) -> None:
    """Refuse a column of numbers in another spelling.

    Raises:
        UserError: with the first such number, and what to set.
    """
    other = other_spelling(table.cells[name], table.spelling)
    if other:
        row, advice = other
        raise UserError(f"{table.at(row)}: {name!r} is {table.cells[name][row]!r}, {advice}")
