"""Plot learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from dlzoo.report.content import Cell, Content, Curve
from dlzoo.report.layout import arm_of, arms, context_of, count_of_seeds, space_evenly
from dlzoo.report.metric import name_of
from dlzoo.report.numbers import one_line, wrap
from dlzoo.report.plot import COLOURS, WIDTH, Plot, arm_style, count_omitted, legend
from dlzoo.runs.figures import epoch_ticks

_MOST_CONTEXTS, _MOST_ARMS = 6, 8
#: Most arms of which single seeds are drawn: more lines could not be told apart.
_MOST_WITH_SEEDS = 4
_DASHES = ("-", "--", ":", "-.")
#: A loss with a larger ratio of maximum to minimum has a logarithmic axis: one diverging arm would flatten the rest.
_WIDE = 30


def curves(content: Content) -> Plot | None:
    """Plot the validation metric and the training loss by epoch, one row per context; None if none was logged."""
    keys = _keys(content)
    cells = [cell for cell in content.cells if any(_is_drawable(cell, key) for key in keys)]
    if not cells:
        return None
    by_context: dict[str, list[Cell]] = {}
    for cell in cells:
        by_context.setdefault(context_of(content, cell), []).append(cell)
    places = arms(content)
    shown_arms = space_evenly(list(dict.fromkeys(arm_of(content, cell) for cell in cells)), _MOST_ARMS)
    chosen = space_evenly(list(by_context), _MOST_CONTEXTS)
    height = 0.5 + (2.1 if len(chosen) == 1 else 1.55) * len(chosen)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(len(chosen), len(keys), squeeze=False, sharex=True, sharey="col")
    handles: dict[str, Artist] = {}
    with_seeds = len(shown_arms) <= _MOST_WITH_SEEDS
    for row, context in enumerate(chosen):
        for axes, key in zip(panels[row], keys, strict=True):
            for cell in by_context[context]:
                arm = arm_of(content, cell)
                if arm in shown_arms and _is_drawable(cell, key):
                    handles.setdefault(arm, _curve(axes, cell.curves[key], places.index(arm), with_seeds))
            axes.set_ylabel(wrap(name_of(key), 22 if len(chosen) == 1 else 14, 2), fontsize=10.5)
        panels[row, 0].set_title(wrap(context, 52, 2), fontsize=10.5, loc="left")
    last = max(cell.curves[key].epochs[-1] for cell in cells for key in keys if _is_drawable(cell, key))
    for column, key in enumerate(keys):
        _scale(panels[0, column], [cell.curves[key] for cell in cells if _is_drawable(cell, key)], key, with_seeds)
        panels[-1, column].set_xlabel("epoch")
        panels[-1, column].set_xticks(epoch_ticks(last, 4))
    if len(handles) > 1:
        legend(figure, list(handles.values()), list(handles))
    caption = " ".join([
        f"Learning curves: {' and '.join(map(name_of, keys))} by epoch, means over {count_of_seeds(content)}",
        _spread([cell.curves[key] for cell in cells for key in keys if key in cell.curves], with_seeds),
        *count_omitted(len(chosen), len(by_context), "settings"),
        *count_omitted(len(shown_arms), len({arm_of(content, cell) for cell in cells}), "arms"),
    ])  # fmt: skip
    return Plot("curves", figure, caption, _alt(cells, keys))


def _keys(content: Content) -> list[str]:
    """Return the logged keys to plot: the compared metric on the validation split, and the training loss."""
    logged = list(dict.fromkeys(key for cell in content.cells for key in cell.curves if _is_drawable(cell, key)))
    monitor = f"val/{content.metric.key.split('/')[-1]}"
    others = [key for key in logged if key.startswith("val/") and key != "val/loss"]
    validation = monitor if monitor in logged else next(iter(others), "val/loss")
    return [key for key in (validation, "train/loss") if key in logged]


def _is_drawable(cell: Cell, key: str) -> bool:
    return key in cell.curves and any(map(math.isfinite, cell.curves[key].mean))


def _spread(shown: Sequence[Curve], with_seeds: bool) -> str:
    """Return the end of the caption: how the variation between seeds is shown."""
    few, many = any(curve.seeds for curve in shown), any(curve.low and not curve.seeds for curve in shown)
    thin = "faint lines for single seeds" if with_seeds else "without bands, which are too wide with so few seeds"
    bands = ["95 % bands"] if many else []
    if few:
        return f"with {' and '.join([*bands, thin])}." if bands or with_seeds else f"{thin}."
    return "with 95 % bands." if bands else "without bands, which need more than one seed."


def _curve(axes: Axes, curve: Curve, place: int, with_seeds: bool) -> Artist:
    """Draw the curve of the arm at a place, with its band, or with single seeds where the band would cover everything.

    Fewer than three points get markers, as a single one would draw no line. Arms that share a colour differ in dashes.
    """
    colour, dashes = arm_style(place)["color"], _DASHES[place // len(COLOURS) % len(_DASHES)]
    if curve.low and not curve.seeds:
        axes.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.2 if with_seeds else 0.12, lw=0)
    for line in curve.seeds if with_seeds else []:
        axes.plot(curve.epochs, line, color=colour, lw=0.7, alpha=0.4)
    marker = "o" if len(curve.epochs) < 3 else ""
    return axes.plot(curve.epochs, curve.mean, color=colour, lw=1.6, ls=dashes, marker=marker)[0]


def _scale(axes: Axes, shown: Sequence[Curve], key: str, with_seeds: bool) -> None:
    """Set the limits of the y axis by the means, with room for single seeds: one that diverges must not flatten all."""
    numbers = [number for curve in shown for number in curve.mean if math.isfinite(number)]
    low, high = min(numbers), max(numbers)
    if "loss" in key and low > 0 and high > _WIDE * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.set_ylim(low / 1.5, high * 1.5)
    else:
        span = high - low
        room = 0.12 * span or abs(high) or 0.1
        single = [number for curve in shown if with_seeds for line in curve.seeds for number in line]
        known = [number for number in single if low - span < number < high + span]
        axes.set_ylim(min([low - room, *known]), max([high + room, *known]))


def _alt(cells: Sequence[Cell], keys: Sequence[str]) -> str:
    parts = []
    for cell in space_evenly(cells, 12):
        ends = [(key, cell.curves[key]) for key in keys if _is_drawable(cell, key)]
        last = ", ".join(f"{name_of(key)} {curve.mean[-1]:.3g}" for key, curve in ends)
        parts.append(f"{one_line(cell.label)}: {last}")
    rest = "" if len(parts) == len(cells) else f"; and {len(cells) - len(parts)} more"
    return f"Learning curves. Final values: {'; '.join(parts)}{rest}."
