"""Run or resume a run directory.

A run that was stopped or killed is resumed from its last checkpoint; a finished one is not changed.
"""

from __future__ import annotations

from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "run or resume a run directory: dlzoo run outputs/RUN"


def arguments(parser: Parser) -> None:
    """Add the directory."""
    parser.add_argument("dir", metavar="DIR", help="the run directory")


def run(arguments: Namespace) -> None:
    """Run or resume the directory."""
    resume(arguments.dir)


def resume(path: str) -> None:
    """Run the directory at `path` from its last checkpoint, if it has one.

    Raises:
        UserError: if it is not a run directory, or as `dlzoo.builder.execute.execute` does.
    """
    from dlzoo.runs.run_dir import RunDir

    directory = RunDir.open(path)
    from dlzoo.builder.launch import end_with_parent

    end_with_parent()  # before torch is imported, which takes long enough for the parent to be killed
    from dlzoo.builder.execute import execute

    execute(directory)
