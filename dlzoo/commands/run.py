"""Run or resume a run directory.

A run that was stopped or killed is resumed from its last checkpoint; a finished one is not changed.
data.root=FOLDER, data.path=FILE and data.test_path=FILE say where its data is, if that was moved;
data.cache=PLACE keeps its images elsewhere.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from dlzoo.commands._parser import Parser
from dlzoo.commands._run_word import trust_parts

HELP = "run or resume a run directory: dlzoo run outputs/RUN"


def arguments(parser: Parser) -> None:
    """Add the directory and the places of its data."""
    parser.usage = "%(prog)s [-h] DIR [data.root=FOLDER ...]"
    parser.add_argument("dir", metavar="DIR", help="the run directory")
    parser.add_settings("where the data is, if it was moved")
    parser.add_trust()


def run(arguments: Namespace) -> None:
    """Run or resume the directory."""
    if arguments.trust:
        trust_parts(arguments.dir)
    resume(arguments.dir, arguments.settings)


def resume(path: str, places: Sequence[str] = ()) -> None:
    """Run the directory at `path` from its last checkpoint, if it has one, with its data in other `places`.

    Raises:
        UserError: if it is not a run directory, or as `dlzoo.builder.execute.execute` does.
    """
    from dlzoo.runs.run_dir import RunDir

    directory = RunDir.open(path)
    from dlzoo.builder.launch import end_with_parent

    end_with_parent()  # before torch is imported, which takes long enough for the parent to be killed
    from dlzoo.builder.execute import execute

    execute(directory, places=places)
