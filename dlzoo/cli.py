"""Find the command that a line names, and call it; print what goes wrong as one line."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlzoo import commands
from dlzoo.commands._parser import Parser
from dlzoo.config import searching
from dlzoo.core.errors import ERROR_FILE, Interrupted, Note, UserError
from dlzoo.core.files import check_folder, one_line_refusals
from dlzoo.core.own_parts import one_line_errors, typed_parts
from dlzoo.core.terminal import discard_output, drop_unwritten, printable_streams

_HELP = ("-h", "--help")
_AS_USUAL = warnings.formatwarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code: 0, 2 after a user error, 130 after Ctrl-C."""
    words = [*(sys.argv[1:] if argv is None else argv)]
    warnings.formatwarning = _format_warning
    with printable_streams():
        return _answer(words)


def _answer(words: list[str]) -> int:
    try:
        with one_line_refusals(), one_line_errors():
            check_folder()
            code = _dispatch(words)
            sys.stdout.flush()  # an error of the output is found here, not when Python ends
        return code
    except (UserError, Interrupted) as error:
        if ERROR_FILE in os.environ:
            Path(os.environ[ERROR_FILE]).write_text(str(error))
        elif os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0":
            print(f"dlzoo: {error}", file=sys.stderr)  # torchrun's ranks all say the same
        drop_unwritten()
        return 2 if isinstance(error, UserError) else 130
    except KeyboardInterrupt:
        print("dlzoo: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # of `dlzoo list model | head`
        discard_output()
        return 0
    except Exception:
        if ERROR_FILE not in os.environ:
            raise
        Path(os.environ[ERROR_FILE]).write_text(traceback.format_exc())
        return 1


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:  # `dlzoo help train` is `dlzoo train --help`
        words = [*words[1:2], "--help"]
    if not words or words[0] in _HELP:
        from dlzoo.show import listing

        print(listing.help_text(commands.summaries()))
        return 0
    name, *rest = words
    if name == "--version":
        name = "version"
    elif name.startswith("-"):
        raise UserError(f"unknown option {name!r}; only --help and --version may stand before a command")
    elif "=" in name:  # settings alone are a training: dlzoo model=resnet20
        name, rest = "train", words
    command = commands.load(name)
    parser = commands.parser_of(name, command)
    parser.refuse_unknown(rest)  # before the parts files are read
    with typed_parts(rest) as rest:
        return _call(command, parser, rest)


def _call(command: commands.Command, parser: Parser, words: list[str]) -> int:
    if any(word in _HELP for word in words):
        print(parser.format_help(), end="")
        return 0
    arguments = parser.parse(words)
    with searching(getattr(arguments, "config_dir", None)):
        return command.run(arguments) or 0


def _format_warning(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """Format a dlzoo note as one line, and any other warning as Python does."""
    if issubclass(category, Note):
        return f"dlzoo: {' '.join(str(message).split())}\n"
    return _AS_USUAL(message, category, filename, lineno, line)


if __name__ == "__main__":
    sys.exit(main())
