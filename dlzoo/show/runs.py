"""`dlzoo runs`: show the progress of the runs of a folder."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dlzoo.runs import table
from dlzoo.runs.run_dir import RunDir

#: Seconds between two updates.
_LOOK = 1.0


def show(folder: Path, console: Console) -> None:
    """Print the table of the runs under a folder; on a terminal it is updated while some are running.

    Raises:
        UserError: if the folder does not exist.
    """
    rows = table.rows(table.find(folder))
    if console.is_terminal and not console.is_dumb_terminal:
        rows = _follow(folder, rows, console)
    table.show(console, rows, folder)
    console.print(Text(table.count_states(rows)), soft_wrap=True)


def _is_active(row: table.Row) -> bool:
    """Return whether a run is running, about to start, or in the queue of a cluster."""
    run = RunDir(row.path)
    return row.state == "running" or (row.state == "created" and (run.is_claimed() or run.job() is not None))


def _follow(folder: Path, rows: list[table.Row], console: Console) -> list[table.Row]:
    """Update the table until no run is active, or until Ctrl-C; return the last rows."""
    with Live(console=console, transient=True, auto_refresh=False) as live:
        try:
            while any(_is_active(row) for row in rows):
                lines = table.lines(rows, folder, console.width)
                room = console.height - 3
                more = [Text(f"... {len(lines) - room} more lines")] if len(lines) > room else []
                end = Text(f"{table.count_states(rows)}  (Ctrl-C ends this view, not the runs)")
                live.update(Group(*lines[:room], *more, end), refresh=True)
                time.sleep(_LOOK)
                rows = table.rows(table.find(folder))
        except KeyboardInterrupt:
            pass
    return rows
