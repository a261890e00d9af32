"""Plot the metric of every cell: against a numeric factor, or one row per cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlzoo.report.content import Cell, Content, Factor
from dlzoo.report.layout import arm_of, arms, context_of, count_of_seeds, level, space_evenly, values
from dlzoo.report.numbers import capitalise, format_mean, mean_digits, one_line, shorten, wrap
from dlzoo.report.plot import INK, WIDTH, Plot, arm_style, count_omitted, legend, limit_axis, row_labels

_MOST_LINES, _MOST_ROWS = 8, 40

#: Letters of a line of a label beside the axes.
_LABEL = 28


def means(content: Content) -> Plot | None:
    """Plot one line per arm over a numeric factor, or else dots and intervals; None without a finished run."""
    cells = [cell for cell in content.cells if math.isfinite(cell.mean)]
    if not cells:
        return None
    along = _numeric(content)
    return _rows(content, cells) if along is None else _lines(content, cells, along)


def _numeric(content: Content) -> Factor | None:
    """Return the numeric factor with most levels (at least three), preferably one that is not compared."""
    candidates = [factor for factor in content.factors if factor.numeric and len(factor.levels) >= 3]
    for factor in sorted(candidates, key=lambda each: (each.compared, -len(each.levels))):
        others = [each for each in content.factors if each is not factor]
        if len({values(content, cell, others) for cell in content.cells}) <= _MOST_LINES:
            return factor
    return None


def _lines(content: Content, cells: Sequence[Cell], along: Factor) -> Plot:
    others = [factor for factor in content.factors if factor is not along]
    places = axis_positions(along.levels)
    lines: dict[str, dict[float, Cell]] = {}
    for cell in cells:
        where = float(level(content, cell, along))
        lines.setdefault(values(content, cell, others), {})[places[where]] = cell
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    gap = min((b - a for a, b in pairwise(sorted(places.values()))), default=1)
    handles = []
    for place, line in enumerate(lines.values()):
        offset = gap * 0.35 * ((place + 0.5) / len(lines) - 0.5)  # so that intervals do not overlap
        xs, style = [x + offset for x in sorted(line)], arm_style(place)
        for x, cell in zip(xs, (line[x] for x in sorted(line)), strict=True):
            if cell.interval:
                axes.plot([x, x], [cell.interval.low, cell.interval.high], color=style["color"], lw=1.8)
            _seeds(axes, [x] * len(cell.values), list(cell.values.values()), style["color"])
        handles += axes.plot(xs, [line[x].mean for x in sorted(line)], lw=1.3, markersize=6.5, **style)
    cut = _window_of(axes, "y", cells)
    labels = {places[float(each)]: each for each in along.levels}
    axes.set_xticks(
        list(labels), [shorten(each, 8) for each in labels.values()], rotation=0 if len(labels) <= 9 else 60
    )
    axes.set(xlabel=wrap(along.key, 40, 2), ylabel=wrap(_axis(content), 30, 2))
    if len(lines) > 1:
        legend(figure, handles, list(lines))
    caption = " ".join([
        f"{capitalise(content.metric.name)} against {one_line(along.key)}: {_shown(content)}.",
        *(["Intervals that exceed the axes are cut off."] if cut else []),
    ])  # fmt: skip
    return Plot("means", figure, caption, _alt(content, cells))


def axis_positions(levels: Sequence[str]) -> dict[float, float]:
    """Return number -> x coordinate: its logarithm if that spaces the numbers more evenly (2, 4, 8, 16)."""
    numbers = sorted({float(each) for each in levels})

    def unevenness(heights: Sequence[float]) -> float:
        gaps = [b - a for a, b in pairwise(heights)]
        return max(gaps) / min(gaps)

    logarithms = [math.log2(number) for number in numbers] if numbers[0] > 0 else None
    by_log = logarithms is not None and len(numbers) > 1 and unevenness(logarithms) < unevenness(numbers)
    return dict(zip(numbers, logarithms if logarithms and by_log else numbers, strict=True))


def _rows(content: Content, cells: Sequence[Cell]) -> Plot:
    shown = sorted(cells, key=lambda cell: cell.mean, reverse=content.metric.higher_is_better)[:_MOST_ROWS]
    shown = [cell for cell in cells if cell in shown]
    places = arms(content)
    labels, tall = row_labels([_name(content, cell) for cell in shown], _LABEL)
    figure = Figure(figsize=(WIDTH, 0.75 + 0.29 * tall * max(len(shown), 2)), layout="constrained")
    axes = figure.subplots()
    for height, cell in enumerate(shown):
        style = arm_style(places.index(arm_of(content, cell)))
        if cell.interval:
            axes.plot([cell.interval.low, cell.interval.high], [height, height], color=style["color"], lw=1.8)
        _seeds(axes, list(cell.values.values()), [height] * len(cell.values), style["color"])
        axes.plot([cell.mean], [height], ls="", markersize=6.5, **style)
    baselines = [cell for cell in shown if cell.is_baseline]
    if len(baselines) == 1:
        axes.axvline(baselines[0].mean, color=INK, lw=1, ls=(0, (4, 3)))
    axes.set_yticks(range(len(shown)), labels)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=4)
    cut = _window_of(axes, "x", shown)
    axes.set_xlabel(wrap(_axis(content), 28, 2))
    caption = " ".join([
        f"{capitalise(content.metric.name)}: {_shown(content)}.",
        *(["The dashed line is the baseline."] if len(baselines) == 1 else []),
        *count_omitted(len(shown), len(cells), "cells", "those with the best means"),
        *(["Intervals that exceed the axes are cut off."] if cut else []),
    ])  # fmt: skip
    return Plot("means", figure, caption, _alt(content, shown))


def _name(content: Content, cell: Cell) -> str:
    if not content.factors:
        return cell.label
    mark = " (baseline)" if cell.is_baseline else ""
    single = " (n = 1)" if len(cell.values) == 1 and len(content.seeds) > 1 else ""
    return ", ".join(filter(None, [arm_of(content, cell) + mark, context_of(content, cell)])) + single


def _axis(content: Content) -> str:
    """Return the label of the metric's axis, which says where each mean is that of a single run."""
    return one_line(content.metric.name) + (" (n = 1)" if len(content.seeds) == 1 else "")


def _seeds(axes: Axes, xs: list[float], ys: list[float], colour: str) -> None:
    if len(xs) > 1:
        axes.plot(xs, ys, ls="", marker="o", markersize=3.6, color=colour, alpha=0.4, markeredgewidth=0)


def _shown(content: Content) -> str:
    if len(content.seeds) < 2:
        return "one seed (n = 1), without intervals"
    return f"means with 95 % intervals over {count_of_seeds(content)}; faint dots are single seeds"


def _window_of(axes: Axes, which: str, cells: Sequence[Cell]) -> bool:
    points = [value for cell in cells for value in (*cell.values.values(), cell.mean) if math.isfinite(value)]
    return limit_axis(axes, which, points, [cell.interval for cell in cells])


def _alt(content: Content, cells: Sequence[Cell]) -> str:
    digits, few = mean_digits(content), space_evenly(cells, 12)
    parts = [f"{one_line(cell.label)} {format_mean(cell.mean, cell.interval, digits)}" for cell in few]
    rest = "" if len(few) == len(cells) else f"; and {len(cells) - len(few)} more, in the table"
    return f"{capitalise(content.metric.name)} by setting. {'; '.join(parts)}{rest}."
