"""The console of dlzoo's tables and progress: rich's, without any meaning in the text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment

from dlzoo.core.notebook import in_notebook
from dlzoo.core.terminal import printable


class Console(console.Console):
    """Console that prints names as they are: no markup such as [red], no :emoji:, no control characters.

    In a notebook it prints plain text: rich would make an output with HTML and escape codes of each line, and
    FORCE_COLOR, which some notebooks set, does not make a terminal of it.
    """

    def __init__(self, **options: Any) -> None:
        plain: dict[str, Any] = {"force_jupyter": False, **({"force_terminal": False} if in_notebook() else {})}
        super().__init__(markup=False, emoji=False, highlight=False, **(plain | options))

    def render(
        self, renderable: console.RenderableType, options: console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of something to be printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
