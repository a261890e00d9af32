"""The plots of a report: that all text is inside the figure, and no two labels cover each other."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dlzoo.report import plots
from dlzoo.report.content import Content
from dlzoo.report.numbers import wrap
from dlzoo.report.plot import Plot, use_style
from tests.fake_report import VARIANTS


@cache
def content(name: str) -> Content:
    return VARIANTS[name]()


@cache
def drawn(name: str) -> dict[str, Plot]:
    return plots.draw(content(name))


def tick_labels(axis: Axis, limits: tuple[float, float], place: int) -> Iterator[Text]:
    """The labels of ticks within the limits; matplotlib has others, which it does not draw."""
    low, high = sorted(limits)
    room = 1e-9 * (high - low)
    for label in axis.get_ticklabels():
        if low - room <= label.get_position()[place] <= high + room:
            yield label


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """The drawn texts of a figure, with the boxes that they take in pixels."""
    canvas = FigureCanvasAgg(figure)
    with use_style():
        figure.draw_without_rendering()
        renderer = canvas.get_renderer()
        ticks = {
            id(label)
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for label in axis.get_ticklabels(which="both")
        }
        shown = [text for text in figure.findobj(Text) if id(text) not in ticks and _is_visible(text, figure)]
        for axes in figure.axes:
            if axes.get_visible():
                shown += [*tick_labels(axes.xaxis, axes.get_xlim(), 0), *tick_labels(axes.yaxis, axes.get_ylim(), 1)]
        return [(text.get_text(), text.get_window_extent(renderer)) for text in shown
                if text.get_text().strip() and text.get_visible()]  # fmt: skip


def _is_visible(text: Text, figure: Figure) -> bool:
    return not isinstance(text.axes, Axes) or text.axes.get_visible()


@pytest.mark.parametrize("name", VARIANTS)
def test_all_text_is_inside_the_figure_and_labels_do_not_overlap(name: str) -> None:
    for key, plot in drawn(name).items():
        width, height = plot.figure.bbox.size
        shown = texts(plot.figure)
        assert shown
        for text, box in shown:
            inside = box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2
            assert inside, f"{key}: {text!r} is at {box.extents} of {width:.0f} x {height:.0f}"
        for (one, box), (other, rest) in combinations(shown, 2):
            across, along = min(box.x1, rest.x1) - max(box.x0, rest.x0), min(box.y1, rest.y1) - max(box.y0, rest.y0)
            assert across <= 2 or along <= 4, f"{key}: {one!r} and {other!r} overlap by {across:.0f} x {along:.0f}"
