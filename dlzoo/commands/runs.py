"""List the runs of a folder: state, progress, result, and the settings that differ.

While some are running the table is updated until they have ended.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from dlzoo.commands._parser import Parser

HELP = "list the runs of a folder, updated while some are running: dlzoo runs outputs/SWEEP"


def arguments(parser: Parser) -> None:
    """Add the folder and --json."""
    parser.add_argument(
        "folder", nargs="?", default="outputs", metavar="FOLDER", help="where to look for runs (default: outputs)"
    )
    parser.add_json()


def run(arguments: Namespace) -> None:
    """Print the runs as a table, or as JSON."""
    folder = Path(arguments.folder)
    if arguments.json:
        from dlzoo.runs import table

        rows = table.rows(table.find(folder))
        print(json.dumps([{"path": str(row.path), **row.record} for row in rows]))
        return
    from dlzoo.core.console import Console
    from dlzoo.show import runs

    runs.show(folder, Console())
