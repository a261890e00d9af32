"""What every plot must keep: no text outside the figure, no text over another, whole epochs, a white ground."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels by which texts may touch: extents are those of whole lines of letters.
_TOUCH = 1.5


def check_plot(figure: Figure) -> list[str]:
    """Draw a figure, check it, and return its texts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert tuple(np.asarray(canvas.buffer_rgba())[0, 0]) == (255, 255, 255, 255), "not on white: unreadable in the dark"
    texts = _texts(figure)
    width, height = canvas.get_width_height()
    for text, box in texts:
        inside = box.x0 > -_TOUCH and box.y0 > -_TOUCH and box.x1 < width + _TOUCH and box.y1 < height + _TOUCH
        assert inside, f"{text!r} is outside the figure: {box.extents} in {width} x {height}"
    for (one, first), (other, second) in combinations(texts, 2):
        common = Bbox.intersection(first.padded(-_TOUCH), second.padded(-_TOUCH))
        assert common is None or not common.width * common.height, f"{one!r} is over {other!r}"
    for axes in figure.axes:
        if axes.get_xlabel() == "epoch":
            check_epochs(axes)
    return [text for text, _ in texts]


def _texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """The visible texts with their extents; of rotated names the last letter, as their boxes overlap at 45 degrees."""
    hidden = {id(text) for axes in figure.axes for text in _hidden(axes)}
    shown: list[tuple[str, Bbox]] = []
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_visible() or not text.get_text().strip() or id(text) in hidden:
            continue
        box = text.get_window_extent()
        if text.get_rotation() % 90:
            side = float(text.get_fontsize()) * figure.dpi / 72
            box = Bbox.from_extents(box.x1 - side, box.y1 - side, box.x1, box.y1)
        shown.append((text.get_text(), box))
    return shown


def _hidden(axes: Axes) -> Iterator[Text]:
    """The texts that are not drawn: labels of ticks beyond the limits, and those of axes that are off."""
    for place, axis in enumerate((axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        margin = 0 if axis.get_scale() == "log" else 1e-6 * (high - low)
        for label in (*axis.get_majorticklabels(), *axis.get_minorticklabels()):
            if not axes.axison or not low - margin <= label.get_position()[place] <= high + margin:
                yield label
        if not axes.axison:
            yield axis.label


def check_epochs(axes: Axes) -> None:
    """Labels are whole epochs, and the last epoch of the lines, or the end of its part, has one."""
    labels = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in axes.get_xticklabels()]
    numbers = [int(label) for label in labels]  # raises for a part of an epoch
    ends = [np.max(line.get_xdata()) for line in axes.lines if np.size(line.get_xdata())]
    last = max(ends, default=numbers[-1])
    assert numbers[-1] == np.ceil(last), f"the last epoch {last} is not labelled: {numbers}"
    assert numbers == sorted(set(numbers))
