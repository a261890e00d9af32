"""Run or resume a run directory.

A run that was stopped or killed is resumed from its last checkpoint; a finished one is not changed.
data.root=FOLDER, data.path=FILE and data.test_path=FILE say where its data is, if that was moved;
data.cache=PLACE keeps its images elsewhere. Other settings stay as they were: to train for longer,
start a new run from its weights with init_from=DIR.
"""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence

from dlzoo.commands._parser import Parser
from dlzoo.commands._run_word import trust_parts
from dlzoo.config.overrides import key_of
from dlzoo.core.errors import UserError
from dlzoo.runs.locations import is_place

HELP = "run or resume a run directory: dlzoo run outputs/RUN"


def arguments(parser: Parser) -> None:
    """Add the directory and the places of its data."""
    parser.usage = "%(prog)s [-h] DIR [data.root=FOLDER ...]"
    parser.add_argument("dir", metavar="DIR", help="the run directory")
    parser.add_settings("where the data is, if it was moved")
    parser.add_trust()


def run(arguments: Namespace) -> None:
    """Run or resume the directory."""
    refuse_changes(arguments.dir, arguments.settings)
    if arguments.trust:
        trust_parts(arguments.dir)
    resume(arguments.dir, arguments.settings)


def refuse_changes(path: str, settings: Sequence[str]) -> None:
    """Refuse settings that are not places of data, with the commands for what is possible instead.

    Raises:
        UserError: for the first such setting; if the directory is no run.
    """
    changes = [word for word in settings if not is_place(word)]
    if not changes:
        return
    from dlzoo.runs.run_dir import RunDir
    from dlzoo.runs.typed import settings_to_type

    config = RunDir.open(path).read()["config"]
    known = settings_to_type(config)
    kept = ["..."] if known is None else [word for word in known if key_of(word) not in map(key_of, changes)]
    quoted = (f"{key}={shlex.quote(value)}" for key, _, value in (word.partition("=") for word in changes))
    command = " ".join(["dlzoo train", *kept, *quoted])
    raise UserError(
        f"{changes[0]}: a run keeps the settings that it was started with, except where its data is"
        f" (data.root, data.path). A new run from its weights: `{command} init_from={shlex.quote(path)}`;"
        f" a new run from the start: `{command}`"
    )


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
