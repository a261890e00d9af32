"""The values of a factor: in which order they stand, and which of them the others are held against."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.runs.differences import format_value


class Absent(Enum):
    """What stands for a setting that an arm does not have: norm.num_groups of norm=bn."""

    ABSENT = "-"

    def __str__(self) -> str:
        return self.value


ABSENT = Absent.ABSENT

#: What is off, or nothing in particular.
_NEUTRAL = ("none", "default", False, None)  # False is 0


def level(value: Any) -> Hashable:
    """A value that can stand in a set."""
    return tuple(map(level, value)) if isinstance(value, list) else value


def is_number(value: object) -> bool:
    """Whether it has a size; true and false are words."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def present(levels: Iterable[Hashable]) -> list[Hashable]:
    """The levels that are values."""
    return [each for each in levels if each is not ABSENT]


def ordered_levels(key: str, levels: Iterable[Hashable], typed: Sequence[str], usual: Hashable) -> tuple[Hashable, ...]:
    """Numbers by size; words as they were typed, else the usual one first and the others by the alphabet.

    Args:
        key: of the setting.
        levels: its values, each once.
        typed: values as somebody typed them.
        usual: what the setting is by default.
    """
    levels = sorted(levels, key=_by_size_and_name)
    values = present(levels)
    if not all(map(is_number, values)):
        first = reference_level(key, values, typed, usual)
        places = {word: place for place, word in enumerate(typed)}
        values.sort(key=lambda each: (places.get(format_value(each), len(places)), each != first))
    return (*values, *(each for each in levels if each is ABSENT))


def reference_level(key: str, levels: Sequence[Hashable], typed: Sequence[str], usual: Hashable) -> Hashable:
    """The level that the others are held against where nobody says which: typed first, the default, off, the first."""
    values = present(levels)
    neutral = REGISTRIES[key].neutral if key in REGISTRIES else None
    first = [each for each in values if typed and format_value(each) == typed[0]]
    known = [each for wanted in (usual, neutral, *_NEUTRAL) for each in values if each == wanted]
    return [*first, *known, *values][0]


def find_level(key: str, word: str, levels: Sequence[Hashable]) -> Hashable:
    """The level that somebody typed.

    Raises:
        UserError: if no run has it.
    """
    for each in present(levels):
        if format_value(each) == "".join(word.split()) or (is_number(each) and each == _number(word)):
            return each
    there = ", ".join(map(format_value, present(levels)))
    raise UserError(f"baseline {key}={word}: no run has it; there is {there}")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _by_size_and_name(value: Hashable) -> tuple[bool, Any, str]:
    return (False, value, "") if is_number(value) else (True, 0, format_value(value))
