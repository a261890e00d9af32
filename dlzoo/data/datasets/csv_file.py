"""CSV files with a header, read column by column."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.data.datasets.csv_numbers import PLAIN, Spelling

Delimiter = Literal["auto", "comma", "semicolon", "tab", "bar"]
Missing = tuple[str | float, ...]

#: Words of columns of booleans.
BOOLEANS = ({"true", "false"}, {"yes", "no"})
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


@dataclass(frozen=True)
class CsvFile:
    """The cells of a CSV file by column, "" for missing values.

    Attributes:
        lines: the line numbers of the rows.
        spelling: how its numbers are spelled.
        missing: the words of each column that were taken for missing values.
    """

    path: str
    lines: list[int]
    cells: dict[str, list[str]]
    spelling: Spelling
    missing: dict[str, list[str]]

    def at(self, row: int) -> str:
        return f"{self.path}:{self.lines[row]}"


def read_csv(path: str, key: str, delimiter: Delimiter, missing: Missing, spelling: Spelling) -> CsvFile:
    """Read the file at `path`; cells that are empty or one of `missing` become "".

    Args:
        key: the setting that names the file, for errors.
        missing: words, in any case, and numbers, in any spelling: -999 is -999.0 too.

    Raises:
        UserError: if it does not exist, is empty, not UTF-8, or not a table; with the line number if possible.
    """
    text, lines, rows, end = _text(path, key), [], [], 0
    try:
        marks = [_DELIMITERS[delimiter]] if delimiter in _DELIMITERS else _DELIMITERS.values()
        # Not strict: with a wrong delimiter, quotes appear in the wrong places.
        mark = max(marks, key=lambda mark: len(next(filter(None, _reader(text, mark, strict=False)), [])))
        reader = _reader(text, mark, strict=True)
        for row in reader:
            if row:
                lines.append(end + 1)
                rows.append([cell.strip() for cell in row])
            end = reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}:{end + 1}: {error}; write a quote inside a quoted cell twice") from None
    if len(rows) < 2:
        raise UserError(f"{path}: " + ("the file has a header but no rows" if rows else "the file is empty"))
    header = _header(f"{path}:{lines[0]}", rows[0], spelling)
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise UserError(f"{path}:{line}: the row has {len(row)} cells, but the header has {len(header)}")
    cells = dict(zip(header, map(list, zip(*rows[1:], strict=True)), strict=True))
    none = {name: _missing_in(column, missing, spelling) for name, column in cells.items()}
    cells = {name: [cell if cell not in none[name] else "" for cell in column] for name, column in cells.items()}
    return CsvFile(path, lines[1:], cells, spelling, {name: sorted(words) for name, words in none.items()})


def missing_marks(missing: Iterable[str | float]) -> tuple[set[str], set[float]]:
    """Return the words, in lower case, and the numbers among them that mean that there is no value."""
    words = {str(each).lower() for each in missing}
    return words, {number for each in words if (number := PLAIN.number(each)) is not None and isfinite(number)}


def _missing_in(cells: list[str], missing: Missing, spelling: Spelling) -> set[str]:
    """Return the different cells that are one of `missing`."""
    words, numbers = missing_marks(missing)
    return {cell for cell in set(cells) if cell.lower() in words or (numbers and spelling.number(cell) in numbers)} - {
        ""
    }


def join_booleans(tables: list[CsvFile]) -> None:
    """Write the cells of columns of booleans in one case, if they are not yet: True, TRUE and true are one value."""
    for name in tables[0].cells:
        cells = {cell for table in tables for cell in table.cells.get(name, ()) if cell}
        lower = {cell.lower() for cell in cells}
        if len(lower) < len(cells) and any(lower <= pair for pair in BOOLEANS):
            for table in tables:
                table.cells[name] = [cell.lower() for cell in table.cells.get(name, ())]


def _text(path: str, key: str) -> str:
    try:
        return read_text(os.path.expanduser(path))
    except UserError as error:
        raise UserError(f"{key}: {error}") from error


def _reader(text: str, mark: str, strict: bool) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=strict)


def _header(where: str, names: list[str], spelling: Spelling) -> list[str]:
    if all(spelling.number(name) is not None for name in names):
        raise UserError(f"{where}: the first row has only numbers; add a header with the names of the columns")
    if "" in names:
        raise UserError(f"{where}: column {names.index('') + 1} has no name; give it one, or remove it")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{where}: {count} columns are named {name!r}; give each a different name")
    return names
