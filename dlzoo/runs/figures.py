"""Write matplotlib figures as PNG files."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def epoch_ticks(last: float, most: int = 6) -> list[int]:
    """Return whole epochs to label on an axis from 0 to `last`, both ends included; a part of an epoch is rounded up.

    They are multiples of 1, 2 or 5 times a power of ten. One that is too near the last epoch is left out.

    Args:
        most: the largest number of intervals between them.
    """
    end = max(1, math.ceil(last))
    power = 10 ** max(0, math.floor(math.log10(end / most)))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if end <= most * step)
    return [*(epoch for epoch in range(0, end, step) if end - epoch > 0.6 * step or not epoch), end]


def write_png(figure: Figure, path: Path, dpi: int = 120) -> tuple[int, int]:
    """Write a figure to `path` and return its width and height in pixels.

    Names of classes and runs are plain text: no formulas, and no warning about glyphs that the font lacks. The canvas
    is Agg's whatever MPLBACKEND says, and draws once, where `Figure.savefig` draws twice.
    """
    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(path)
    return canvas.get_width_height()
