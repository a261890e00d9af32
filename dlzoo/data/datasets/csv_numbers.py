"""Numbers as tables spell them: decimal commas, separators of thousands, signs of currencies, percent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dlzoo.core.errors import UserError
from dlzoo.data.datasets.csv_signs import Bare, bare_numbers

Decimal = Literal["point", "comma"]
Thousands = Literal["none", "comma", "point", "space", "apostrophe"]

#: The largest float32.
LARGEST = 3.4028234663852886e38
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
    """Find out whether nearly all cells would be numbers in another spelling, or without a sign or a unit.

    Args:
        cells: a column, "" for missing values.
        used: the spelling in which they are not all numbers.

    Returns:
        The row of an example, and what it is and what to do about it; None for words.
    """
    counts = Counter(filter(None, cells))
    bare = bare_numbers(list(counts))
    fitting = [spelling for spelling in (used, *_SPELLINGS) if _are_numbers(counts, bare, [spelling])]
    # The first of those that read most cells: a spelling that is set is preferred, then the more usual one.
    best = max(fitting, key=lambda one: sum(one.number(bare[cell].text) is not None for cell in counts), default=used)
    found = (cell for cell in counts if used.number(cell) is None and best.number(bare[cell].text) is not None)
    if not fitting or (example := next(found, None)) is None:
        return _mixed_spellings(cells, counts, bare, used)
    keys = [key for key in ("decimal", "thousands") if getattr(best, key) != getattr(used, key)]
    setting = " ".join(f"data.{key}={getattr(best, key)}" for key in keys)
    if best == Spelling(thousands="comma") and _are_numbers(counts, bare, [Spelling("comma")]):
        setting += f" (or data.decimal=comma, if it is {Spelling('comma').number(bare[example].text):g})"
    if not bare[example].what:
        return cells.index(example), f"which looks like a number; set {setting}"
    return cells.index(example), bare[example].advice + (f", and set {setting}" if setting else "")


def _mixed_spellings(
    cells: Sequence[str], counts: Counter[str], bare: dict[str, Bare], used: Spelling
) -> tuple[int, str] | None:
    """Return the row of a number that is not in the spelling `used`, and advice, if nearly all cells are numbers."""
    if not _are_numbers(counts, bare, _SPELLINGS):
        return None
    numbers = [cell for cell in counts if any(one.number(bare[cell].text) is not None for one in _SPELLINGS)]
    example = next((cell for cell in numbers if used.number(cell) is None), None)
    if example is None:
        return None
    fits = [one for one in _SPELLINGS if one.number(bare[example].text) is not None]
    other = next(cell for cell in numbers if all(one.number(bare[cell].text) is None for one in fits))
    return cells.index(example), (
        f"which looks like a number, but {other!r} in the same column is written in another way; write all numbers of"
        " the column in one way"
    )


def _are_numbers(counts: Counter[str], bare: dict[str, Bare], spellings: Sequence[Spelling]) -> bool:
    """Return whether nearly all cells, or nearly all different ones, are numbers in one of some spellings."""
    words = [cell for cell in counts if all(one.number(bare[cell].text) is None for one in spellings)]
    numbers = len(counts) - len(words)
    few = sum(counts[cell] for cell in words) <= _FEW * counts.total() or len(words) < _FEW * numbers
    return numbers > 0 and few
