"""The console of dlzoo's tables and progress: rich's, without any meaning in the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment
from rich.text import Text

from dlzoo.core.notebook import in_notebook
from dlzoo.core.terminal import in_one_line, printable


class Console(console.Console):
    """Console that prints names as they are: no markup such as [red], no :emoji:, no control characters.

    What is printed with soft_wrap is one line: a line break or a tab in it is that of a name, and is escaped too.
    In a notebook it prints plain text: rich would make an output with HTML and escape codes of each line, and
    FORCE_COLOR, which some notebooks set, does not make a terminal of it.
    """

    def __init__(self, **options: Any) -> None:
        plain: dict[str, Any] = {"force_jupyter": False, **({"force_terminal": False} if in_notebook() else {})}
        super().__init__(markup=False, emoji=False, highlight=False, **(plain | options))

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects as rich does."""
        lines = map(_in_one_line, objects) if options.get("soft_wrap") else objects
        super().print(*lines, **options)

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of something to be printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def _in_one_line(line: Any) -> Any:
    """Return a text, with or without a style, in which line breaks and tabs are escaped."""
    if isinstance(line, str):
        return in_one_line(line)
    if isinstance(line, Text):
        for mark in "\n\t":
            if mark in line.plain:
                line = Text(in_one_line(mark)).join(line.split(mark, allow_blank=True))
    return line
