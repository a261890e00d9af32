"""What is checked in tables before anything is learnt from them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product

from dlzoo.core.errors import Note, UserError
from dlzoo.data.datasets.csv_file import CsvFile

#: Rows of a test table that may be in the training table by chance.
_FEW = 9
#: Maximum number of lines, or columns, that a message lists.
_SHOWN = 5
#: Notations of booleans; the first two are of words that are nothing else.
_BOOLEANS = (("true", "false"), ("yes", "no"), ("1", "0", "1.0", "0.0"), ("t", "f"), ("y", "n"))


def check_tables(tables: list[CsvFile], inputs: Sequence[str], targets: tuple[str, ...]) -> None:
    """Check the columns of the training and the test table, and report what is odd in them.

    Raises:
        UserError: if a target is missing in a row, or booleans are written in two notations.
    """
    _check_rows(tables, targets)
    _refuse_mixed_booleans(tables, (*inputs, *targets))
    _note_empty_columns(tables, inputs)


def _check_rows(tables: list[CsvFile], targets: tuple[str, ...]) -> None:
    """Check that no target is missing; report a test table of which most rows are in the training table too."""
    _refuse_missing(tables, targets)
    if len(tables) == 1:
        return
    train, test = tables
    names = [name for name in train.cells if name in test.cells]
    seen = set(zip(*(train.cells[name] for name in names), strict=True))
    rows = enumerate(zip(*(test.cells[name] for name in names), strict=True))
    shared = [row for row, cells in rows if cells in seen]
    if len(shared) > max(_FEW, len(test.lines) / 2):
        warnings.warn(f"{len(shared):,} of the {len(test.lines):,} rows of {test.path} are also in {train.path}, such"
                      f" as line {test.lines[shared[0]]}: test on other rows", Note, stacklevel=2)  # fmt: skip


def _refuse_mixed_booleans(tables: Sequence[CsvFile], names: Sequence[str]) -> None:
    """Check that no column has booleans in two notations, such as yes and true: they would be two categories.

    Raises:
        UserError: if one has, with the first line of the second notation.
    """
    for name in names:
        words = {cell.lower() for table in tables for cell in table.cells[name] if cell}
        used = [notation for notation in _BOOLEANS if words & {*notation}]
        if len(used) < 2 or not words.issubset(word for notation in used for word in notation):
            continue
        if not any(notation in used for notation in _BOOLEANS[:2]):
            continue
        cells = [(table.at(row), cell) for table in tables for row, cell in enumerate(table.cells[name]) if cell]
        first = next(notation for notation in used if cells[0][1].lower() in notation)
        where, other = next((where, cell) for where, cell in cells if cell.lower() not in first)
        raise UserError(f"{where}: {name!r} is {other!r}, but {cells[0][1]!r} in other rows; write true and false"
                        " in one way in the column")  # fmt: skip


def _note_empty_columns(tables: Sequence[CsvFile], names: Sequence[str]) -> None:
    """Report columns without any value: they are filled in with one value, from which nothing is learnt."""
    for table in tables:
        empty = [name for name in names if not any(table.cells[name])]
        if empty:
            shown = ", ".join(map(repr, empty[:_SHOWN])) + (", ..." if len(empty) > _SHOWN else "")
            columns = "columns are" if len(empty) > 1 else "column is"
            warnings.warn(f"{table.path}: the {columns} missing in every row: {shown}; leave out with"
                          f" data.drop=[{','.join(empty[:_SHOWN])}]", Note, stacklevel=2)  # fmt: skip


def _refuse_missing(tables: list[CsvFile], targets: tuple[str, ...]) -> None:
    for table, name in product(tables, targets):
        lines = [str(line) for line, cell in zip(table.lines, table.cells[name], strict=True) if not cell]
        if len(lines) == len(table.lines) > 1:
            raise UserError(f"{table.path}: the target {name!r} is missing in every row; choose another data.target"
                            + _hint(table, name))  # fmt: skip
        if lines:
            shown = ", ".join(lines[:_SHOWN]) + (", ..." if len(lines) > _SHOWN else "")
            raise UserError(
                f"{table.path}: the target {name!r} is missing in {len(lines)} of {len(table.lines)} rows;"
                f" fill in or remove line {shown}{_hint(table, name)}"
            )


def _hint(table: CsvFile, name: str) -> str:
    words = " or ".join(map(repr, table.missing[name]))
    return f"; if {words} is meant as a class, set data.missing=[]" if words else ""
