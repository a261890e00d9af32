"""Which factor of a comparison goes where: what is held against each other, and under which other settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dlzoo.report.content import Cell, Comparison, Content, Factor
from dlzoo.report.numbers import NONE, counted, plain

_Item = TypeVar("_Item")

#: More levels than this would make a table of them too wide.
_MOST_COLUMNS = 4

_SAY_NOTHING = ("true", "false", "null", "none", "default")


def level(content: Content, cell: Cell, factor: Factor) -> str:
    """The value of a factor in a cell: "gn"."""
    return plain(cell.levels[content.factors.index(factor)].removeprefix(f"{factor.key}="))


def held_against(content: Content) -> list[Factor]:
    """The factors whose levels are compared; all of them where none is."""
    return [factor for factor in content.factors if factor.compared] or content.factors


def contexts(content: Content) -> list[Factor]:
    """The factors under whose levels the others are compared."""
    against = held_against(content)
    return [factor for factor in content.factors if factor not in against]


def values(content: Content, cell: Cell, factors: Sequence[Factor]) -> str:
    """The values of some factors: "gn, 4"; of those that the cell has."""
    return ", ".join(found for factor in factors if (found := level(content, cell, factor)) != NONE)


def named_values(content: Content, cell: Cell, factors: Sequence[Factor]) -> str:
    """With the ends of their keys where values alone say nothing: "batch_size=4", or "mish, batch_size=4"."""
    said = []
    for factor in factors:
        value = level(content, cell, factor)
        if value != NONE:
            bare = len(factors) > 1 and not factor.numeric and value not in _SAY_NOTHING
            said.append(value if bare else f"{plain(factor.key).rpartition('.')[2]}={value}")
    return ", ".join(said)


def arm_of(content: Content, cell: Cell) -> str:
    """What is compared of a cell: "gn", or "gn, mish" of two factors."""
    return values(content, cell, held_against(content)) or plain(cell.label)


def arms(content: Content) -> list[str]:
    """All that is compared, in order."""
    return list(dict.fromkeys(arm_of(content, cell) for cell in content.cells))


def context_of(content: Content, cell: Cell) -> str:
    """Under which settings: "batch_size=4", or nothing."""
    around = contexts(content)
    return named_values(content, cell, around) if around else ""


def around(content: Content, comparison: Comparison) -> str:
    """All but what is compared: "batch_size=4", or nothing."""
    others = [factor for factor in content.factors if factor.key != comparison.factor]
    cell = next((cell for cell in content.cells if cell.label == comparison.label), None)
    return named_values(content, cell, others) if cell and others else plain(comparison.context)


def crossed(content: Content) -> tuple[Factor, Factor] | None:
    """The compared factor and the numbers that it is crossed with, where that is all that varies.

    Such a comparison is a table of its own: a row a number, a column a level.
    """
    if len(content.factors) != 2 or not content.cells:
        return None
    against = [factor for factor in content.factors if factor.compared]
    rest = [factor for factor in content.factors if not factor.compared and factor.numeric]
    if len(against) != 1 or len(rest) != 1 or len(against[0].levels) > _MOST_COLUMNS:
        return None
    return against[0], rest[0]


def evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of the items, from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def seeds_said(content: Content) -> str:
    """8 seeds, or 5 to 8 seeds where some are missing."""
    sizes = [len(cell.values) for cell in content.cells] or [0]
    return counted(max(sizes), "seed") if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} seeds"
