"""Define the plots of a report: PNG and SVG output, style, colours and legends."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from dlzoo.comparison.statistics import Interval
from dlzoo.report.numbers import one_line, shorten, wrap

#: Width in inches. On a phone, where a plot is 390 pixels wide, letters stay readable.
WIDTH = 5.2

#: Colour of text and axes only: in an SVG it becomes the colour of the page's text.
INK = "#1b1f24"

#: After Okabe and Ito, for colour-blind readers; each has a contrast of at least 3 with white and with near-black.
COLOURS = ("#0F78B8", "#D55E00", "#00916A", "#BC5A95", "#A87C00", "#7B68C8", "#7C7F83", "#3896C4")
_MARKERS = "os^DvPXp"

_STYLE: Any = {
    "font.size": 11.5,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
    # Names of arms and classes are not formulas.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dlzoo",
}

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@contextmanager
def use_style() -> Iterator[None]:
    """Set the style of a report's plots inside the context, and ignore warnings about glyphs that the font lacks."""
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@dataclass(frozen=True)
class Plot:
    """A figure, its name ("effects"), its caption, and its alternative text for screen readers."""

    name: str
    figure: Figure
    caption: str
    alt: str

    @cached_property
    def png(self) -> bytes:
        """The figure on white, at 200 dots per inch."""
        file = io.BytesIO()
        with use_style():
            self.figure.patch.set_visible(True)
            self.figure.set_dpi(200)
            FigureCanvasAgg(self.figure).print_png(file, metadata={"Software": None})
        return file.getvalue()

    @cached_property
    def svg(self) -> str:
        """The figure as one transparent <svg> element with text as text, for a file or to be put into a page."""
        file = io.StringIO()
        with use_style():
            self.figure.patch.set_visible(False)
            FigureCanvasSVG(self.figure).print_svg(file)
        text = file.getvalue()
        text = text[text.index("<svg") :].rstrip()
        # Remove metadata links, and a style that would apply to the rest of the page.
        text = re.sub(r" *<metadata>.*?</metadata>\n?", "", text, flags=re.DOTALL)
        text = re.sub(r" *<defs>\s*<style.*?</style>\s*</defs>\n?", "", text, flags=re.DOTALL)
        text = re.sub(r' xmlns:xlink="[^"]*"| version="1.1"', "", text, count=2).replace("xlink:href=", "href=")
        text = text.replace(INK, "currentColor")
        text = re.sub(r"'DejaVu Sans'[^;\"]*", _FONTS, text)
        text = re.sub(
            r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text
        )  # hundredths of a point
        text = _make_ids_unique(text, self.name)
        opening = (
            f'<svg role="img" aria-label="{escape(one_line(self.alt))}" stroke-linejoin="round" stroke-linecap="butt"'
        )
        return text.replace("<svg", opening, 1) + "\n"


def _make_ids_unique(svg: str, name: str) -> str:
    """Make the ids unique within a page, and remove those that nothing refers to."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', renamed, svg)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)


def arm_style(place: int) -> dict[str, Any]:
    """Return the colour and marker of the arm at a place of the order."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": _MARKERS[(place + place // len(COLOURS)) % len(_MARKERS)],
    }


def legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """Add a legend above the axes, with as many columns as fit; the figure grows by its height."""
    shown = [shorten(name, 46) for name in names]
    columns = max(1, min(len(shown), 52 // (max(map(len, shown)) + 5)))
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(shown) // columns))
    figure.legend(handles, shown, loc="outside upper left", ncols=columns, borderaxespad=0.2)


def row_labels(names: Sequence[str], width: int) -> tuple[list[str], float]:
    """Return names that are wrapped to `width` letters, and the lines that a row of the tallest takes, at least 1."""
    labels = [wrap(name, width, 4) for name in names]
    return labels, 1 + 0.62 * max((label.count("\n") for label in labels), default=0)


def limit_axis(axes: Axes, which: str, points: Sequence[float], intervals: Sequence[Interval | None]) -> bool:
    """Set the limits of axis x or y so that huge intervals of few seeds do not flatten everything else.

    Returns: whether an interval is cut off.
    """
    low, high = min(points), max(points)
    room = 2 * (high - low) or abs(high) or 1.0
    ends = [end for each in intervals if each is not None for end in (each.low, each.high)]
    bottom, top = max(low - room, min([low, *ends])), min(high + room, max([high, *ends]))
    margin = 0.04 * (top - bottom) or 0.1 * room
    (axes.set_xlim if which == "x" else axes.set_ylim)(bottom - margin, top + margin)
    return any(end < bottom or end > top for end in ends)


def count_omitted(shown: int, total: int, what: str, which: str = "") -> list[str]:
    """Return a sentence if not all were drawn: "Showing 6 of 40 comparisons, those with the largest differences."."""
    return [f"Showing {shown} of {total:,} {what}{', ' + which if which else ''}."] if shown < total else []
