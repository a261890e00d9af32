"""CSV files with a header, read column by column."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, regular, shorten

Delimiter = Literal["auto", "comma", "semicolon", "tab", "bar"]

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}


@dataclass(frozen=True)
class CsvFile:
    """The cells of a CSV file by column, "" for missing values; `lines` are the line numbers of the rows."""

    path: str
    lines: list[int]
    cells: dict[str, list[str]]

    def at(self, row: int) -> str:
        return f"{self.path}:{self.lines[row]}"


def read_csv(path: str, key: str, delimiter: Delimiter, missing: tuple[str, ...]) -> CsvFile:
    """Read the file at `path`; cells that are empty or one of `missing`, ignoring case, become "".

    Args:
        key: the setting that names the file, for errors.

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
    header = _header(f"{path}:{lines[0]}", rows[0])
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise UserError(f"{path}:{line}: the row has {len(row)} cells, but the header has {len(header)}")
    none = {"", *(word.lower() for word in missing)}
    cells = [["" if cell.lower() in none else cell for cell in column] for column in zip(*rows[1:], strict=True)]
    return CsvFile(path, lines[1:], dict(zip(header, cells, strict=True)))


def _text(path: str, key: str) -> str:
    try:
        content = regular(os.path.expanduser(path)).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{key}: file {path!r} does not exist") from None
    except OSError as error:
        raise UserError(f"{key}: cannot read {shorten(path)!r}: {reason(error)}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8; save the file with the encoding UTF-8") from None


def _reader(text: str, mark: str, strict: bool) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True, strict=strict)


def _header(where: str, names: list[str]) -> list[str]:
    if all(number_in(name) is not None for name in names):
        raise UserError(f"{where}: the first row has only numbers; add a header with the names of the columns")
    if "" in names:
        raise UserError(f"{where}: column {names.index('') + 1} has no name; give it one, or remove it")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{where}: {count} columns are named {name!r}; give each a different name")
    return names


def number_in(text: str) -> float | None:
    """Return a cell as a number, or None if it is not one; unlike in Python, 1_000 is not."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
