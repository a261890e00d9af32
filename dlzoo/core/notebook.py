"""Progress in a notebook: one output that is updated, where a terminal has a bar."""

from __future__ import annotations

import sys
from html import escape
from importlib import import_module
from typing import Any

#: Characters of a bar as text.
_WIDTH = 16


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookBar:
    """A progress bar with a line of text, the one output of a cell that changes. Only for `in_notebook()`."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown: tuple[float, str] | None = None

    def update(self, fraction: float, text: str) -> None:
        """Show progress, 0 to 1, and a text of one line; nothing is sent if they are shown already."""
        fraction = min(max(fraction, 0.0), 1.0)
        if (round(fraction, 3), text) == self._shown:
            return
        self._shown = (round(fraction, 3), text)
        full = round(_WIDTH * fraction)
        content = {
            "text/plain": f"[{'#' * full}{'-' * (_WIDTH - full)}] {fraction:4.0%}  {text}",
            "text/html": f'<progress value="{fraction:.3f}" max="1"></progress> {fraction:.0%} &nbsp; {escape(text)}',
        }
        if self._handle is None:
            self._handle = import_module("IPython.display").display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
