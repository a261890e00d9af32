"""`dlzoo runs`: how far the runs of a folder are, for as long as some go on."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dlzoo.runs import table
from dlzoo.runs.run_dir import RunDir

#: Seconds between two looks.
_LOOK = 1.0


def show(folder: Path, console: Console) -> None:
    """Print the table of the runs under a folder; on a terminal, again and again while some are running.

    Raises:
        UserError: if there is no such folder.
    """
    rows = table.rows(table.find(folder))
    if console.is_terminal and not console.is_dumb_terminal:
        rows = _follow(folder, rows, console)
    table.show(console, rows, folder)
    console.print(Text(table.counts(rows)), soft_wrap=True)


def _goes_on(row: table.Row) -> bool:
    """Whether a run is running, about to be started, or in the queue of a cluster."""
    run = RunDir(row.path)
    return row.state == "running" or (row.state == "created" and (run.is_claimed() or run.job() is not None))


def _follow(folder: Path, rows: list[table.Row], console: Console) -> list[table.Row]:
    """The rows when none is running any more, or somebody has seen enough."""
    with Live(console=console, transient=True, auto_refresh=False) as live:
        try:
            while any(_goes_on(row) for row in rows):
                lines = table.lines(rows, folder, console.width)
                room = console.height - 3
                more = [Text(f"... {len(lines) - room} lines more")] if len(lines) > room else []
                end = Text(f"{table.counts(rows)}  (Ctrl-C leaves them alone)")
                live.update(Group(*lines[:room], *more, end), refresh=True)
                time.sleep(_LOOK)
                rows = table.rows(table.find(folder))
        except KeyboardInterrupt:
            pass
    return rows
