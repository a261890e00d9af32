"""Differences and their intervals, a row each, about a line at zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Comparison, Content
from dlzoo.report.layout import arm_of, arms, around, crossed, evenly, level, seeds_said
from dlzoo.report.numbers import MINUS, between, difference_digits, fixed, plain, short
from dlzoo.report.picture import INK, WIDTH, Picture, look, omitted, window

_MOST_ROWS = 40

#: As many as fit below the axes.
_LETTERS = 36


@dataclass(frozen=True)
class Row:
    """A difference; `place` says which colour it has, `remark` stands on the right."""

    label: str
    difference: float
    interval: Interval | None
    place: int = 0
    remark: str = ""


def effects(content: Content) -> Picture | None:
    """The differences of the arms from their baseline, by context; None where nothing was compared."""
    compared = [each for each in content.comparisons if math.isfinite(each.effect.difference)]
    if not compared:
        return None
    largest = sorted(compared, key=lambda each: -abs(each.effect.difference))[:_MOST_ROWS]
    shown = [each for each in compared if each in largest]
    rows, margin = _rows(content, shown), content.margin or 0
    figure = Figure(figsize=(WIDTH, 0.9 + 0.29 * max(len(rows), 2)), layout="constrained")
    axes = figure.subplots()
    forest(axes, rows)
    if margin:
        axes.axvspan(-margin, margin, color=INK, alpha=0.12, lw=0)
    points = [each.effect.difference for each in shown]
    cut = window(axes, "x", [*points, -margin, margin], [each.effect.interval for each in shown])
    what = _difference(compared[0]) if len(set(map(pair, compared))) == 1 else "difference from baseline"
    better = "right" if content.metric.higher_is_better else "left"
    said = f"{plain(content.metric.name)}: {what}"
    axes.set_xlabel(f"{said if len(said) <= _LETTERS else short(what, _LETTERS)}\n({better} of the line is better)")
    if (grid := crossed(content)) and len(grid[0].levels) == 2:
        axes.set_ylabel(short(plain(grid[1].key).rpartition(".")[2], 14))
    paired = "Differences of equal seeds" if all(each.effect.paired for each in shown) else "Differences"
    intervals = " with 95 % intervals" if any(each.effect.interval for each in shown) else ", without intervals"
    caption = " ".join([
        f"{paired} in {plain(content.metric.name)} ({what}){intervals}, {seeds_said(content)} a cell.",
        *([f"Within the grey band, ±{margin:g}, a difference counts as none."] if margin else []),
        *(["Intervals that leave the picture are cut."] if cut else []),
        *omitted(len(shown), len(compared), "comparisons", "those with the largest differences"),
    ])  # fmt: skip
    return Picture("effects", figure, caption, _alt(content, compared))


def forest(axes: Axes, rows: Sequence[Row | str], most: int = 34) -> None:
    """Rows from the top; a row of text alone is a heading. Names have at most so many letters."""
    axes.axvline(0, color=INK, lw=1)
    for height, row in enumerate(rows):
        if isinstance(row, Row):
            style = look(row.place)
            if row.interval:
                axes.plot([row.interval.low, row.interval.high], [height, height], color=style["color"], lw=2)
            axes.plot([row.difference], [height], ls="", markersize=6.5, **style)
            axes.text(1.02, height, row.remark, transform=axes.get_yaxis_transform(), va="center", fontsize=10.5)
    labels = [short(row.label if isinstance(row, Row) else row, most) for row in rows]
    narrow = max(map(len, labels)) > 20
    axes.set_yticks(range(len(rows)), labels, fontsize=10.5 if narrow else 11.5)
    axes.locator_params(axis="x", nbins=3 if narrow else 4)
    for height, row in enumerate(rows):
        if not isinstance(row, Row):
            axes.get_yticklabels()[height].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def title(content: Content, comparison: Comparison) -> str:
    """A comparison among the others, in as few words as tell it apart."""
    pairs, where = set(map(pair, content.comparisons)), around(content, comparison)
    if len(pairs) == 1:
        return where or _difference(comparison)
    return f"{_arm(content, comparison)}: {where}" if where else _arm(content, comparison)


def colours(content: Content) -> dict[str, int]:
    """Label of a cell -> the place of its arm, which has its colour in all pictures."""
    order = arms(content)
    return {cell.label: order.index(arm_of(content, cell)) for cell in content.cells}


def pair(comparison: Comparison) -> tuple[str, str, str]:
    """What is held against what, wherever that is."""
    return comparison.factor, comparison.level, comparison.against


def _rows(content: Content, shown: Sequence[Comparison]) -> list[Row | str]:
    """In groups under headings: by context where one holds several comparisons, else by what is compared."""
    places, grid, cells = colours(content), crossed(content), {cell.label: cell for cell in content.cells}
    pairs = list(dict.fromkeys(map(pair, shown)))
    wheres = list(dict.fromkeys(around(content, each) for each in shown))
    groups: dict[str, list[tuple[str, Comparison]]] = {}
    for each in shown:
        where, arm = around(content, each), _arm(content, each)
        if len(pairs) == 1:
            said = level(content, cell, grid[1]) if grid and (cell := cells.get(each.label)) else where
            groups.setdefault("", []).append((said or _difference(each), each))
        elif len(wheres) == 1:
            groups.setdefault("", []).append((arm, each))
        elif len(wheres) * len(pairs) == len(shown):
            groups.setdefault(where, []).append((arm, each))
        else:
            groups.setdefault(f"{plain(each.factor)}: {_difference(each)}", []).append((where, each))
    rows: list[Row | str] = []
    for heading, members in groups.items():
        rows += [heading] if heading else []
        for said, each in members:
            place = places.get(each.label, 0)
            rows.append(Row(said, each.effect.difference, each.effect.interval, place, each.verdict))
    return rows


def _arm(content: Content, comparison: Comparison) -> str:
    several = len({each.factor for each in content.comparisons}) > 1
    return plain(f"{comparison.factor}={comparison.level}" if several else comparison.level)


def _difference(comparison: Comparison) -> str:
    return f"{plain(comparison.level)} {MINUS} {plain(comparison.against)}"


def _alt(content: Content, compared: Sequence[Comparison]) -> str:
    digits = difference_digits(content)

    def said(each: Comparison) -> str:
        where = f" at {plain(each.context)}" if each.context else ""
        interval = f" {between(each.effect.interval, digits, signed=True)}" if each.effect.interval else ""
        known = f"{fixed(each.effect.difference, digits, signed=True)}{interval}"
        return f"{_difference(each)}{where}: {known}, {each.verdict}"

    few = evenly(compared, 12)
    rest = "" if len(few) == len(compared) else f"; and {len(compared) - len(few)} more, in the table"
    return f"Differences in {plain(content.metric.name)}. {'; '.join(map(said, few))}{rest}."
