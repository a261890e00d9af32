"""Numbers as tables spell them: decimal commas, separators of thousands, signs of currencies, percent."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dlzoo.core.errors import UserError

Decimal = Literal["point", "comma"]
Thousands = Literal["none", "comma", "point", "space", "apostrophe"]

_MARKS = {"point": r"\.", "comma": ",", "apostrophe": "['\u2019]", "space": "[ \u00a0\u2009\u202f]"}
#: Of a column's cells, or of its different words to its different numbers: less than this is "nearly all".
_FEW = 0.1


@dataclass(frozen=True)
class Spelling:
    """The marks in a number; a minus is either that of the keyboard or U+2212."""

    decimal: Decimal = "point"
    thousands: Thousands = "none"

    def __post_init__(self) -> None:
        if self.decimal == self.thousands:
            raise UserError(f"data.decimal and data.thousands are both {self.decimal}; choose another data.thousands")

    def number(self, cell: str) -> float | None:
        """Return a cell as a number, or None if it is not one; unlike in Python, 1_000 is not."""
        text = cell.replace("\u2212", "-")
        if self.decimal != "point" or self.thousands != "none":
            if match := self._pattern.fullmatch(text):
                whole = re.sub(r"[^\d+-]", "", match["whole"])
                text = f"{whole}.{match['fraction'] or '0'}{match['exponent'] or ''}"
            elif any(map(str.isdigit, text)):
                return None
        try:
            return None if "_" in text else float(text)
        except ValueError:
            return None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        decimal, mark = _MARKS[self.decimal], _MARKS.get(self.thousands)
        grouped = rf"|[1-9]\d{{0,2}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}" if mark else ""  # \d{2,3}: as in India
        return re.compile(
            rf"(?P<whole>[+-]?(?:\d+{grouped}|(?={decimal}\d)))"
            rf"(?:{decimal}(?P<fraction>\d*))?(?P<exponent>[eE][+-]?\d+)?"
        )


PLAIN = Spelling()
#: The more usual first: 1,500 is taken for 1500 where all cells can be read so.
_SPELLINGS = (
    PLAIN,
    Spelling(thousands="comma"),
    Spelling("comma"),
    Spelling("comma", "point"),
    Spelling(thousands="space"),
    Spelling("comma", "space"),
    Spelling(thousands="apostrophe"),
    Spelling("comma", "apostrophe"),
)


def other_spelling(cells: Sequence[str], used: Spelling) -> tuple[int, str] | None:
    """Find out whether nearly all cells would be numbers in another spelling, or without a sign.

    Args:
        cells: a column, "" for missing values.
        used: the spelling in which they are not all numbers.

    Returns:
        The row of an example, and what it is and what to do about it; None for words.
    """
    counts = Counter(filter(None, cells))
    bare = {cell: _without_sign(cell) for cell in counts}
    fitting = [spelling for spelling in _SPELLINGS if _are_numbers(counts, bare, spelling)]
    if not fitting:
        return None
    best = used if used in fitting else fitting[0]
    found = (cell for cell in counts if used.number(cell) is None and best.number(bare[cell]) is not None)
    if (example := next(found, None)) is None:
        return None
    keys = [key for key in ("decimal", "thousands") if getattr(best, key) != getattr(used, key)]
    setting = " ".join(f"data.{key}={getattr(best, key)}" for key in keys)
    if best == Spelling(thousands="comma") and Spelling("comma") in fitting:
        setting += f" (or data.decimal=comma, if it is {Spelling('comma').number(bare[example]):g})"
    return cells.index(example), _advice(example, bare[example], setting)


def _are_numbers(counts: Counter[str], bare: dict[str, str], spelling: Spelling) -> bool:
    """Return whether nearly all cells, or nearly all different ones, are numbers."""
    words = [cell for cell in counts if spelling.number(bare[cell]) is None]
    numbers = len(counts) - len(words)
    few = sum(counts[cell] for cell in words) <= _FEW * counts.total() or len(words) < _FEW * numbers
    return numbers > 0 and few


def _advice(cell: str, bare: str, setting: str) -> str:
    if cell == bare:
        return f"which looks like a number; set {setting}"
    what = "percent" if "%" in cell or "\u2030" in cell else "currency"
    return f"a number with a {what} sign; remove the sign from the column" + (f", and set {setting}" if setting else "")


def _without_sign(cell: str) -> str:
    """Return a cell without the sign of a currency or percent."""
    if cell.isascii() and "$" not in cell and "%" not in cell:
        return cell
    return "".join(mark for mark in cell if mark not in "%\u2030" and unicodedata.category(mark) != "Sc").strip()
