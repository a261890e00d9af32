"""Rows of a table as a user of Python has them: an array, a data frame, or a list of dictionaries."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dlzoo.core.errors import Note, UserError, did_you_mean
from dlzoo.data.datasets.csv_file import BOOLEANS, missing_marks
from dlzoo.data.datasets.csv_numbers import LARGEST, PLAIN, Spelling
from dlzoo.data.table_set import Column

_FORMS = "give a 2-D array (rows, columns), a data frame, or a list of dictionaries"


@runtime_checkable
class Frame(Protocol):
    """A data frame of pandas or polars."""

    @property
    def columns(self) -> Iterable[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, name: str, /) -> Any: ...


#: Rows of a table: an array (N, columns), a data frame, or dictionaries by the names of the columns.
Rows = np.ndarray | Tensor | Frame | Mapping[str, Any] | Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Cells:
    """How values that are text are read, and which values are missing: as in the table that a run was trained on.

    Args:
        spelling: the marks in numbers.
        missing: words, in lower case, and numbers that mean that there is no value.
    """

    spelling: Spelling = PLAIN
    missing: frozenset[str | float] = frozenset()

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Cells:
        """Return the cells of the data that a section of a config names."""
        words, numbers = missing_marks(section.get("missing", ()))
        spelling = Spelling(section.get("decimal", "point"), section.get("thousands", "none"))
        return cls(spelling, frozenset(words | numbers))

    def number(self, value: Any) -> float | None:
        """Return a value as a number, or None if it is not one."""
        if isinstance(value, str):
            return self.spelling.number(value.strip())
        return float(value) if isinstance(value, (Real, np.bool_)) else None

    def is_missing(self, value: Any) -> bool:
        """Return whether a value stands for no value."""
        if isinstance(value, str):
            return not value.strip() or value.strip().lower() in self.missing or self.number(value) in self.missing
        try:
            return value is None or bool(value != value) or self.number(value) in self.missing
        except TypeError:  # pandas.NA, of which comparisons are neither true nor false
            return True


def encode_rows(rows: Rows, columns: Sequence[Column], cells: Cells) -> Tensor:
    """Return rows as a table set has them: (N, 1, 1, columns) float64, indices of categories, nan for missing values.

    A category that is not among those of the column gets an index of none of them; a note names it.

    Args:
        rows: an array (N, columns) in the order of `columns`; a data frame or dictionaries with their names, and
            perhaps with others.

    Raises:
        UserError: if `rows` is of another form, lacks a column, or has a value that is not a number where one must be.
    """
    values = _by_column(rows, [column.name for column in columns])
    coded = [_categories(each, column, cells) if column.categories else _numbers(each, column, cells)
             for each, column in zip(values, columns, strict=True)]  # fmt: skip
    return torch.tensor(coded, dtype=torch.float64).T.reshape(len(values[0]), 1, 1, len(columns))


def _by_column(rows: Any, names: Sequence[str]) -> list[list[Any]]:
    """Return the values of each column.

    Raises:
        UserError: as `encode_rows`.
    """
    if isinstance(rows, Frame) and not isinstance(rows, (np.ndarray, Tensor)):
        _check_names(list(rows.columns), names, "the data frame")
        values = [list(rows[name]) for name in names]
    else:
        values = [list(column) for column in zip(*_in_order(rows, names), strict=True)]
    if not values or not values[0]:
        raise UserError("rows: there is none; give one or more")
    return values


def _in_order(rows: Any, names: Sequence[str]) -> list[list[Any]]:
    """Return the values of each row, in the order of the columns."""
    listed = _listed(rows)
    if listed and all(isinstance(row, Mapping) for row in listed):
        for place, row in enumerate(listed):
            _check_names(list(row), names, f"rows[{place}]")
        return [[row[name] for name in names] for row in listed]
    for place, row in enumerate(listed):
        if not isinstance(row, (list, tuple)):
            hint = "put a single row into a list" if isinstance(row, (Real, str)) else _FORMS
            raise UserError(f"rows[{place}] is a {type(row).__name__}, not a row of {len(names)} values; {hint}")
        if len(row) != len(names):
            raise UserError(f"rows[{place}] has {len(row)} values, but the run was trained on {len(names)} columns:"
                            f" {', '.join(names)}")  # fmt: skip
    return [list(row) for row in listed]


def _listed(rows: Any) -> list[Any]:
    if isinstance(rows, Mapping):
        return [rows]
    if isinstance(rows, (np.ndarray, Tensor)):
        if rows.ndim != 2:
            raise UserError(f"rows: an array of rows has the shape (rows, columns), not {tuple(rows.shape)}")
        return rows.tolist()
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise UserError(f"rows: a {type(rows).__name__} is not rows of a table; {_FORMS}")
    return [row.tolist() if isinstance(row, (np.ndarray, Tensor)) else row for row in rows]


def _check_names(present: Sequence[Any], names: Sequence[str], where: str) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        unused = [str(each) for each in present if each not in names]
        remedy = did_you_mean(missing[0], unused) if unused else "add it, or None for a missing value"
        raise UserError(f"{where} has no column {missing[0]!r}{others} that the run was trained on; {remedy}")


def _numbers(values: Sequence[Any], column: Column, cells: Cells) -> list[float]:
    numbers = []
    for place, value in enumerate(values):
        number = math.nan if cells.is_missing(value) else cells.number(value)
        if number is None or abs(number) > LARGEST:
            raise UserError(f"rows[{place}]: {column.name!r} is {value!r}, but must be a number of at most 3.4e38")
        numbers.append(number)
    return numbers


def _categories(values: Sequence[Any], column: Column, cells: Cells) -> list[float]:
    boolean = any({name.lower() for name in column.categories} <= pair for pair in BOOLEANS)
    codes = {name.lower() if boolean else name: float(code) for code, name in enumerate(column.categories)}
    numbers, unknown = [], []
    for value in values:
        words = (word.lower() if boolean else word for word in _spellings(value))
        known = next((codes[word] for word in words if word in codes), None)
        if known is None and not cells.is_missing(value):
            unknown.append(value)
            known = float(len(column.categories))
        numbers.append(math.nan if known is None else known)
    if unknown:
        message = (f"{len(unknown)} of {len(values)} values of {column.name!r}, such as {unknown[0]!r}, are in none of"
                   " the rows of the run's data; they count as an unknown category")  # fmt: skip
        warnings.warn(message, Note, stacklevel=4)
    return numbers


def _spellings(value: Any) -> list[str]:
    """Return how a category may be written: the number 3.0 is 3, too."""
    text = str(value).strip()
    return [text, str(int(value))] if isinstance(value, float) and value.is_integer() else [text]
