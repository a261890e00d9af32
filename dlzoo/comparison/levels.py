"""Levels of a factor: their order, and which one is the baseline."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.runs.differences import format_value


class Absent(Enum):
    """Level of a setting that an arm does not have: norm.num_groups of norm=bn."""

    ABSENT = "\N{EN DASH}"

    def __str__(self) -> str:
        return self.value


ABSENT = Absent.ABSENT

#: Values that mean off or default.
_NEUTRAL = ("none", "default", False, None)  # False is 0


def level(value: Any) -> Hashable:
    """Return a value as a hashable one: lists become tuples."""
    return tuple(map(level, value)) if isinstance(value, list) else value


def is_number(value: object) -> bool:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def present_levels(levels: Iterable[Hashable]) -> list[Hashable]:
    """Return the levels that are not ABSENT."""
    return [each for each in levels if each is not ABSENT]


def ordered_levels(
    key: str, levels: Iterable[Hashable], typed: Sequence[str], default: Hashable
) -> tuple[Hashable, ...]:
    """Sort levels: numbers by size; words as typed, else the default first and the others alphabetically.

    Args:
        key: the setting.
        levels: its values, each once.
        typed: values as typed.
        default: default of the setting.
    """
    levels = sorted(levels, key=_by_size_and_name)
    values = present_levels(levels)
    if not all(map(is_number, values)):
        first = reference_level(key, values, typed, default)
        places = {word: place for place, word in enumerate(typed)}
        values.sort(key=lambda each: (places.get(format_value(each), len(places)), each != first))
    return (*values, *(each for each in levels if each is ABSENT))


def reference_level(key: str, levels: Sequence[Hashable], typed: Sequence[str], default: Hashable) -> Hashable:
    """Return the default baseline: the level typed first, else the setting's default, else off, else the first."""
    values = present_levels(levels)
    neutral = REGISTRIES[key].neutral if key in REGISTRIES else None
    first = [each for each in values if typed and format_value(each) == typed[0]]
    known = [each for candidate in (default, neutral, *_NEUTRAL) for each in values if each == candidate]
    return [*first, *known, *values][0]


def find_level(key: str, word: str, levels: Sequence[Hashable]) -> Hashable:
    """Return the level that was typed as `word`.

    Raises:
        UserError: if no run has it.
    """
    for each in present_levels(levels):
        if format_value(each) == "".join(word.split()) or (is_number(each) and each == _number(word)):
            return each
    available = ", ".join(map(format_value, present_levels(levels)))
    raise UserError(f"baseline {key}={word}: no run has it; available: {available}")


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _by_size_and_name(value: Hashable) -> tuple[bool, Any, str]:
    return (False, value, "") if is_number(value) else (True, 0, format_value(value))
