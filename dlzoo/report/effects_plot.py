"""Draw the forest plot: differences from the baseline with their intervals, one row each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Comparison, Content
from dlzoo.report.layout import (
    arm_of,
    arms,
    context_of_comparison,
    count_of_seeds,
    crossed_factors,
    level,
    space_evenly,
)
from dlzoo.report.numbers import MINUS, difference_digits, format_fixed, format_interval, one_line, shorten, wrap
from dlzoo.report.plot import INK, WIDTH, Plot, arm_style, count_omitted, limit_axis, row_labels
from dlzoo.report.words import explain_undecided, why_undecided

_MOST_ROWS = 40

#: Letters that fit below the axes, and on a line of a label beside them.
_LETTERS, _LABEL = 36, 28


@dataclass(frozen=True)
class Row:
    """A row of a forest plot; `place` selects its colour, `note` is written on the right."""

    label: str
    difference: float
    interval: Interval | None
    place: int = 0
    note: str = ""


def effects(content: Content) -> Plot | None:
    """Plot the differences of the arms from their baseline, by context; None if nothing was compared."""
    compared = [each for each in content.comparisons if math.isfinite(each.effect.difference)]
    if not compared:
        return None
    largest = sorted(compared, key=lambda each: -abs(each.effect.difference))[:_MOST_ROWS]
    shown = [each for each in compared if each in largest]
    rows, margin = _rows(content, shown), content.margin or 0
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    lines = forest(axes, rows, _LABEL)
    figure.set_size_inches(WIDTH, 0.9 + 0.29 * lines * max(len(rows), 2))
    if margin:
        axes.axvspan(-margin, margin, color=INK, alpha=0.12, lw=0)
    points = [each.effect.difference for each in shown]
    cut = limit_axis(axes, "x", [*points, -margin, margin], [each.effect.interval for each in shown])
    what = _difference(compared[0]) if len(set(map(pair, compared))) == 1 else "difference from baseline"
    better = "right" if content.metric.higher_is_better else "left"
    label = f"{one_line(content.metric.name)}: {what}"
    axes.set_xlabel(f"{label if len(label) <= _LETTERS else wrap(what, _LETTERS, 2)}\n({better} of the line is better)")
    if (grid := crossed_factors(content)) and len(grid[0].levels) == 2:
        axes.set_ylabel(shorten(one_line(grid[1].key).rpartition(".")[2], 14))
    paired = "Paired differences by seed" if all(each.effect.paired for each in shown) else "Differences"
    intervals = " with 95 % intervals" if any(each.effect.interval for each in shown) else ", without intervals"
    caption = " ".join([
        f"{paired} in {one_line(content.metric.name)} ({what}){intervals}, {count_of_seeds(content)} per cell.",
        *([f"Differences within the grey band, ±{margin:g}, are treated as equal."] if margin else []),
        *(["Intervals that exceed the axes are cut off."] if cut else []),
        *explain_undecided(shown),
        *count_omitted(len(shown), len(compared), "comparisons", "those with the largest differences"),
    ])  # fmt: skip
    return Plot("effects", figure, caption, _alt(content, compared))


def forest(axes: Axes, rows: Sequence[Row | str], width: int) -> float:
    """Draw rows from the top, with labels of `width` letters a line. A row that is a string is a heading.

    Returns: the lines of text that a row needs in height.
    """
    axes.axvline(0, color=INK, lw=1)
    for height, row in enumerate(rows):
        if isinstance(row, Row):
            style = arm_style(row.place)
            if row.interval:
                axes.plot([row.interval.low, row.interval.high], [height, height], color=style["color"], lw=2)
            axes.plot([row.difference], [height], ls="", markersize=6.5, **style)
            size = 9 if "\n" in row.note else 10.5
            axes.text(1.02, height, row.note, transform=axes.get_yaxis_transform(), va="center", fontsize=size)
    labels, lines = row_labels([row.label if isinstance(row, Row) else row for row in rows], width)
    noted = any("\n" in row.note for row in rows if isinstance(row, Row))
    narrow = max(len(line) for label in labels for line in label.split("\n")) > 20
    axes.set_yticks(range(len(rows)), labels, fontsize=10.5 if narrow else 11.5)
    axes.locator_params(axis="x", nbins=3 if narrow else 4)
    for height, row in enumerate(rows):
        if not isinstance(row, Row):
            axes.get_yticklabels()[height].set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return max(lines, 1.3) if noted else lines


def title(content: Content, comparison: Comparison) -> str:
    """Return a short title that distinguishes a comparison from the others."""
    pairs, where = set(map(pair, content.comparisons)), context_of_comparison(content, comparison)
    if len(pairs) == 1:
        return where or _difference(comparison)
    return f"{_arm(content, comparison)}: {where}" if where else _arm(content, comparison)


def colours(content: Content) -> dict[str, int]:
    """Return label of a cell -> place of its arm, which sets its colour in all plots."""
    order = arms(content)
    return {cell.label: order.index(arm_of(content, cell)) for cell in content.cells}


def pair(comparison: Comparison) -> tuple[str, str, str]:
    """Return the compared levels: (factor, level, baseline level)."""
    return comparison.factor, comparison.level, comparison.against


def _rows(content: Content, shown: Sequence[Comparison]) -> list[Row | str]:
    """Group the comparisons under headings: by context where each has several, else by the compared levels."""
    places, grid, cells = colours(content), crossed_factors(content), {cell.label: cell for cell in content.cells}
    pairs = list(dict.fromkeys(map(pair, shown)))
    wheres = list(dict.fromkeys(context_of_comparison(content, each) for each in shown))
    groups: dict[str, list[tuple[str, Comparison]]] = {}
    for each in shown:
        where, arm = context_of_comparison(content, each), _arm(content, each)
        if len(pairs) == 1:
            label = level(content, cell, grid[1]) if grid and (cell := cells.get(each.label)) else where
            groups.setdefault("", []).append((label or _difference(each), each))
        elif len(wheres) == 1:
            groups.setdefault("", []).append((arm, each))
        elif len(wheres) * len(pairs) == len(shown):
            groups.setdefault(where, []).append((arm, each))
        else:
            groups.setdefault(f"{one_line(each.factor)}: {_difference(each)}", []).append((where, each))
    rows: list[Row | str] = []
    for heading, members in groups.items():
        rows += [heading] if heading else []
        for label, each in members:
            place = places.get(each.label, 0)
            rows.append(Row(label, each.effect.difference, each.effect.interval, place, _note(each)))
    return rows


def _note(comparison: Comparison) -> str:
    """Return the verdict, with the reason where it is not that of the interval."""
    if reason := why_undecided(comparison):
        return f"{comparison.verdict}:\n{reason}"
    single = max(comparison.effect.seeds, comparison.effect.baseline_seeds) == 1
    return f"{comparison.verdict}\n(n = 1)" if single else comparison.verdict


def _arm(content: Content, comparison: Comparison) -> str:
    several_factors = len({each.factor for each in content.comparisons}) > 1
    return one_line(f"{comparison.factor}={comparison.level}" if several_factors else comparison.level)


def _difference(comparison: Comparison) -> str:
    return f"{one_line(comparison.level)} {MINUS} {one_line(comparison.against)}"


def _alt(content: Content, compared: Sequence[Comparison]) -> str:
    digits = difference_digits(content)

    def summary(each: Comparison) -> str:
        where = f" at {one_line(each.context)}" if each.context else ""
        interval = f" {format_interval(each.effect.interval, digits, signed=True)}" if each.effect.interval else ""
        known = f"{format_fixed(each.effect.difference, digits, signed=True)}{interval}"
        return f"{_difference(each)}{where}: {known}, {each.verdict}"

    few = space_evenly(compared, 12)
    rest = "" if len(few) == len(compared) else f"; and {len(compared) - len(few)} more, in the table"
    return f"Differences in {one_line(content.metric.name)}. {'; '.join(map(summary, few))}{rest}."
