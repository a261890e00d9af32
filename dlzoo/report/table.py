"""Define a table of text, independent of its format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dlzoo.report.numbers import NONE

#: Numbers are right-aligned, words are text, a name is the header of its row, a verdict is one of four words.
Kind = Literal["number", "words", "name", "verdict"]

Row = tuple[str, ...]


class Column(NamedTuple):
    """The header of a column, and the kind of its cells."""

    head: str
    kind: Kind = "number"


@dataclass(frozen=True)
class Table:
    """Rows of text below column headers; `name` is short and unique in a report."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: list[Row]


def table(name: str, caption: str, columns: Sequence[Column], rows: Iterable[Row]) -> Table | None:
    """Make a table without its empty columns; None if there are no rows."""
    rows = list(rows)
    kept = [place for place in range(len(columns)) if any(row[place] not in (NONE, "") for row in rows)]
    filled = tuple(columns[place] for place in kept)
    return Table(name, caption, filled, [tuple(row[place] for place in kept) for row in rows]) if rows else None
