"""Plot the metric against cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox, BboxBase

from dlzoo.report.content import Cell, Content
from dlzoo.report.layout import arm_of, arms, contexts, count_of_seeds, values
from dlzoo.report.numbers import capitalise, one_line, shorten
from dlzoo.report.plot import INK, WIDTH, Plot, arm_style, legend

_MOST_NAMES = 24

#: Half the width of a marker and its circle, in points.
_MARKER = 5.0


@dataclass(frozen=True)
class _Cost:
    """A cost, its units from small to large, its direction, and the smallest ratio that counts as different."""

    name: str
    amount_of: Callable[[Cell], float | None]
    units: tuple[tuple[float, str], ...]
    more_is_better: bool
    matters: float


_COUNTS = ((1, ""), (1e3, "thousands"), (1e6, "millions"), (1e9, "thousand millions"))
_TIMES, _SIZES = ((1, "s"), (60, "min"), (3600, "h")), ((1e3, "kB"), (1e6, "MB"), (1e9, "GB"))

#: The first cost of each row that differs is plotted: a property of the network, and a measured quantity.
_COSTS = (
    (
        _Cost("multiply-adds", lambda cell: cell.macs, _COUNTS, False, 1.01),
        _Cost("parameters", lambda cell: cell.params, _COUNTS, False, 1.01),
    ),
    (
        _Cost("time of a run", lambda cell: cell.seconds, _TIMES, False, 1.2),
        _Cost("images a second", lambda cell: cell.images_per_second, ((1, ""),), True, 1.2),
        _Cost("peak memory", lambda cell: cell.memory, _SIZES, False, 1.2),
    ),
)


def cost(content: Content) -> Plot | None:
    """Plot the metric against one or two costs; None if the cells cost the same."""
    cells = [cell for cell in content.cells if math.isfinite(cell.mean)]
    plotted = [
        differing for row in _COSTS if (differing := next((each for each in row if _differs(each, cells)), None))
    ]
    if not plotted:
        return None
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    figure.set_dpi(72)  # so that pixels are points
    panels = figure.subplots(1, len(plotted), squeeze=False, sharey=True)[0]
    handles: dict[str, Artist] = {}
    best: dict[str, list[Cell]] = {}
    for axes, each in zip(panels, plotted, strict=True):
        known = [cell for cell in cells if _is_known(each, cell)]
        best[each.name] = _front(each, known, content.metric.higher_is_better)
        handles |= _panel(axes, content, each, known, best[each.name])
    panels[0].set_ylabel(shorten(content.metric.name, 26))
    if len(handles) > 1:
        legend(figure, list(handles.values()), list(handles))
    if _has_labels(content):
        figure.draw_without_rendering()  # the places of labels depend on the layout
        for axes, each in zip(panels, plotted, strict=True):
            _label(axes, content, each, [cell for cell in cells if _is_known(each, cell)])
    where = (
        f" Labels, where there is room: {', '.join(one_line(each.key) for each in contexts(content))}."
        if _has_labels(content)
        else ""
    )
    lines = "; vertical lines are 95 % intervals" if any(cell.interval for cell in cells) else ""
    caption = (
        f"{capitalise(content.metric.name)} against cost, means over {count_of_seeds(content)}{lines}.{where} "
        "The circled cells on the dashed line are Pareto-optimal: no other cell is better at the same or lower cost."
    )
    fronts = [f"by {name} {', '.join(one_line(cell.label) for cell in front)}" for name, front in best.items()]
    alt = f"{capitalise(content.metric.name)} against cost. Pareto-optimal cells: {'; '.join(fronts)}."
    return Plot("cost", figure, caption, alt)


def _is_known(cost: _Cost, cell: Cell) -> bool:
    amount = cost.amount_of(cell)
    return amount is not None and math.isfinite(amount) and amount > 0


def _amount(cost: _Cost, cell: Cell) -> float:
    return cost.amount_of(cell) or 0.0


def _differs(cost: _Cost, cells: Sequence[Cell]) -> bool:
    amounts = [_amount(cost, cell) for cell in cells if _is_known(cost, cell)]
    return len(amounts) > 1 and max(amounts) > cost.matters * min(amounts)


def _front(cost: _Cost, cells: Sequence[Cell], higher_is_better: bool) -> list[Cell]:
    """Return the Pareto front: from the cheapest on, each cell that is better than all cheaper ones."""

    def order(cell: Cell) -> tuple[float, float]:
        price = _amount(cost, cell) * (-1 if cost.more_is_better else 1)
        return price, -cell.mean if higher_is_better else cell.mean

    front: list[Cell] = []
    for cell in sorted(cells, key=order):
        if not front or order(cell)[1] < order(front[-1])[1]:
            front.append(cell)
    return front


def _has_labels(content: Content) -> bool:
    return bool(contexts(content)) and len(content.cells) <= _MOST_NAMES


def _panel(
    axes: Axes, content: Content, cost: _Cost, cells: Sequence[Cell], front: Sequence[Cell]
) -> dict[str, Artist]:
    """Draw one cost; return arm -> handle for the legend."""
    places, handles = arms(content), {}
    largest = max(_amount(cost, cell) for cell in cells)
    size, unit = _unit(cost, cells)
    for cell in cells:
        arm, x = arm_of(content, cell), _amount(cost, cell) / size
        style: dict[str, Any] = arm_style(places.index(arm))
        if cell.interval:
            axes.plot([x, x], [cell.interval.low, cell.interval.high], color=style["color"], lw=1.4, alpha=0.7)
        handles[arm] = axes.plot([x], [cell.mean], ls="", markersize=6.5, **style)[0]
    xs, ys = [_amount(cost, cell) / size for cell in front], [cell.mean for cell in front]
    axes.plot(xs, ys, ls=(0, (4, 3)), color=INK, lw=1, marker="o", markersize=12, markerfacecolor="none", zorder=1.5)
    ratio = largest / min(_amount(cost, cell) for cell in cells)
    if ratio > 8:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 2, 5) if ratio < 300 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"{amount:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0.14)
    axes.set_xlabel(f"{cost.name} ({unit})" if unit else cost.name)
    return handles


def _unit(cost: _Cost, cells: Sequence[Cell]) -> tuple[float, str]:
    largest = max(_amount(cost, cell) for cell in cells)
    return next((each for each in reversed(cost.units) if each[0] <= largest / 2), cost.units[0])


def _label(axes: Axes, content: Content, cost: _Cost, cells: Sequence[Cell]) -> None:
    """Label the cells with their contexts, where there is room for a label that is nearest to its own marker."""
    size, _ = _unit(cost, cells)
    points = [axes.transData.transform((_amount(cost, cell) / size, cell.mean)) for cell in cells]
    taken = [Bbox.from_bounds(x - _MARKER, y - _MARKER, 2 * _MARKER, 2 * _MARKER) for x, y in points]
    texts = [shorten(values(content, cell, contexts(content)), 16) for cell in cells]
    for cell, text, (x, y) in zip(cells, texts, points, strict=True):
        rest = [point for point, other in zip(points, texts, strict=True) if other != text]
        for box in _places(x, y, 6.4 * len(text), 11.0):
            centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
            near = min((math.dist(centre, point) for point in rest), default=math.inf)
            free = not any(box.overlaps(other) for other in taken) and _is_inside(box, axes.bbox)
            if free and math.dist(centre, (x, y)) < 0.8 * near:
                taken.append(box)
                axes.annotate(
                    text, (_amount(cost, cell) / size, cell.mean), xytext=(box.x0 - x, box.y0 - y),
                    textcoords="offset points", fontsize=10, ha="left", va="bottom",
                )  # fmt: skip
                break


def _places(x: float, y: float, width: float, height: float) -> Iterator[Bbox]:
    """Return the places of a label around a marker: right and left of it, a little higher or lower; above and below."""
    for right, up in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        left = x + _MARKER + 1 if right > 0 else x - _MARKER - 1 - width
        yield Bbox.from_bounds(left, y + 1 if up > 0 else y - 1 - height, width, height)
    for bottom in (y + _MARKER + 1, y - _MARKER - 1 - height):
        yield Bbox.from_bounds(x - width / 2, bottom, width, height)


def _is_inside(box: Bbox, outer: BboxBase) -> bool:
    return outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 and box.y1 <= outer.y1
