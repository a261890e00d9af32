"""The commands of `dlzoo`: one module each, and those that other packages add.

`dlzoo lr-find` is lr_find.py; a module whose name begins with an underscore is not a command. Another package adds a
command by an entry point of the group `dlzoo.command`: its name is the command, its value a module like those here.

A module is imported when its command is called, and all of them for `dlzoo --help`: it imports what takes long (torch,
scipy, Hydra) inside `run`.
"""

# A submodule becomes an attribute of its package: in this file `list` and `eval` are commands, not the builtins.

from __future__ import annotations

import inspect
import pkgutil
import sys
from argparse import Namespace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.nearest import simplify
from dlzoo.core.other_words import COMMANDS

#: The entry points with which other packages add commands.
GROUP = "dlzoo.command"

#: What the list of commands begins with; the others follow in alphabetical order.
_FIRST = ("train", "run", "runs", "compare", "report")


@runtime_checkable
class Command(Protocol):
    """A module that is a command. Its docstring is the description that `dlzoo <command> --help` prints."""

    #: One line for `dlzoo --help`: what the command does, and an example.
    HELP: str

    def arguments(self, parser: Parser) -> None:
        """Add the arguments of the command."""
        ...

    def run(self, arguments: Namespace) -> int | None:
        """Run the command and return its exit code; None means 0."""
        ...


def names() -> tuple[str, ...]:
    """Return the names of all commands, including plug-ins, without importing them."""
    commands = {*_modules(), *_plug_ins()}
    return *(name for name in _FIRST if name in commands), *sorted(commands - {*_FIRST})


def load(name: str) -> Command:
    """Return the command `name`.

    Raises:
        UserError: for an unknown name, with the closest ones; or if the command of another package cannot be imported.
    """
    if name in _modules():
        return _check_command(import_module(_modules()[name]))
    if name not in _plug_ins():
        raise UserError(f"unknown command {name!r}; {_instead(name)}")
    point = _plug_ins()[name]
    try:
        return _check_command(point.load())
    except Exception as error:
        raise UserError(f"the command {name} of the plug-in {point.value} failed: {first_line(error)}") from error


def _instead(name: str) -> str:
    """Suggest what to type instead of an unknown command."""
    other = COMMANDS.get(simplify(name))
    return f"did you mean `dlzoo {other}`?" if other else did_you_mean(name, names())


def summaries() -> dict[str, str]:
    """Return command -> its line of help. A plug-in that cannot be imported is left out, with a line on stderr."""
    help_lines: dict[str, str] = {}
    for name in names():
        try:
            help_lines[name] = load(name).HELP
        except UserError as error:
            print(f"dlzoo: {error}; it is left out", file=sys.stderr)
    for point in entry_points(group=GROUP):
        if point.name in _modules():
            print(f"dlzoo: the plug-in {point.value} is left out: {point.name} is a command of dlzoo", file=sys.stderr)
    return help_lines


def parser_of(name: str, command: Command) -> Parser:
    """Return the parser of a command's words."""
    parser = Parser(prog=f"dlzoo {name}", description=inspect.getdoc(command))
    command.arguments(parser)
    return parser


def _modules() -> dict[str, str]:
    """Return command -> module, for the commands of dlzoo."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return {name.replace("_", "-"): f"{__name__}.{name}" for name in modules if not name.startswith("_")}


def _plug_ins() -> dict[str, EntryPoint]:
    """Return command -> entry point, for the commands of other packages."""
    return {point.name: point for point in entry_points(group=GROUP)}


def _check_command(command: object) -> Command:
    if not isinstance(command, Command):
        raise TypeError("a command has HELP, arguments(parser) and run(arguments)")
    return command
