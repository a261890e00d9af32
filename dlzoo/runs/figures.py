"""Write matplotlib figures as PNG files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
