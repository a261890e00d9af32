"""Arrange the factors of a comparison: which ones are compared, and which ones are the context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from dlzoo.report.content import Cell, Comparison, Content, Factor
from dlzoo.report.numbers import NONE, count_of, one_line

_Item = TypeVar("_Item")

#: Most levels that a table has as columns.
_MOST_COLUMNS = 4

_UNCLEAR_ALONE = ("true", "false", "null", "none", "default")


def level(content: Content, cell: Cell, factor: Factor) -> str:
    """Return the value of a factor in a cell: "gn"."""
    return one_line(cell.levels[content.factors.index(factor)].removeprefix(f"{factor.key}="))


def compared_factors(content: Content) -> list[Factor]:
    """Return the factors whose levels are compared; all factors if there are none."""
    return [factor for factor in content.factors if factor.compared] or content.factors


def contexts(content: Content) -> list[Factor]:
    """Return the factors that are not compared: each of their levels is a context of the comparison."""
    compared = compared_factors(content)
    return [factor for factor in content.factors if factor not in compared]


def values(content: Content, cell: Cell, factors: Sequence[Factor]) -> str:
    """Return the values of some factors: "gn, 4". Factors that the cell does not have are left out."""
    return ", ".join(value for factor in factors if (value := level(content, cell, factor)) != NONE)


def named_values(content: Content, cell: Cell, factors: Sequence[Factor], baseline: Cell | None = None) -> str:
    """Return the values, with the end of their keys where they are unclear: "batch_size=4", "mish, batch_size=4".

    Of a factor that the cell does not have the value is that of the baseline.
    """
    parts = []
    for factor in factors:
        found = (level(content, each, factor) for each in (cell, baseline) if each is not None)
        value = next((each for each in found if each != NONE), NONE)
        if value != NONE:
            bare = len(factors) > 1 and not factor.numeric and value not in _UNCLEAR_ALONE
            parts.append(value if bare else f"{one_line(factor.key).rpartition('.')[2]}={value}")
    return ", ".join(parts)


def arm_of(content: Content, cell: Cell) -> str:
    """Return the compared levels of a cell: "gn", or "gn, mish" for two factors."""
    return values(content, cell, compared_factors(content)) or one_line(cell.label)


def arms(content: Content) -> list[str]:
    """Return all arms, in order."""
    return list(dict.fromkeys(arm_of(content, cell) for cell in content.cells))


def context_of(content: Content, cell: Cell) -> str:
    """Return the context of a cell: "batch_size=4", or an empty string."""
    factors = contexts(content)
    return named_values(content, cell, factors) if factors else ""


def context_of_comparison(content: Content, comparison: Comparison) -> str:
    """Return the values of all factors that a comparison keeps equal: "batch_size=4", or an empty string."""
    others = [factor for factor in content.factors if factor.key != comparison.factor]
    cells = {cell.label: cell for cell in content.cells}
    cell, baseline = cells.get(comparison.label), cells.get(comparison.baseline)
    return named_values(content, cell, others, baseline) if cell and others else one_line(comparison.context)


def crossed_factors(content: Content) -> tuple[Factor, Factor] | None:
    """Return the compared factor and the numeric factor that it is crossed with, if nothing else varies.

    Such a comparison is a grid: one row per number, one column per level.
    """
    if len(content.factors) != 2 or not content.cells:
        return None
    against = [factor for factor in content.factors if factor.compared]
    rest = [factor for factor in content.factors if not factor.compared and factor.numeric]
    if len(against) != 1 or len(rest) != 1 or len(against[0].levels) > _MOST_COLUMNS:
        return None
    return against[0], rest[0]


def space_evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return at most `most` of the items, evenly spaced from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def count_of_seeds(content: Content) -> str:
    """Return "8 seeds", or "5 to 8 seeds" if some are missing."""
    sizes = [len(cell.values) for cell in content.cells] or [0]
    if max(sizes) == 1 == min(sizes):
        return "one seed (n = 1)"
    return count_of(max(sizes), "seed") if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)} seeds"
