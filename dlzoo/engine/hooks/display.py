"""The display as a hook: it is always on, unless the run is quiet."""

from __future__ import annotations

from rich.console import Console

from dlzoo.core.registries import HOOKS
from dlzoo.engine.display import Display


@HOOKS.register("display", source="dlzoo: the output of a run on the terminal")
def display(*, console: Console) -> Display:
    """One line per epoch and, on a terminal, a progress bar. It is always on, whether the list names it or not."""
    return Display(console)
