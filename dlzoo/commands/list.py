"""List the names of a choice, one a line; or which model takes which parts.

Losses are listed with the kinds of targets that they take. --json adds the descriptions.
"""

from __future__ import annotations

import json
from argparse import Namespace

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError

HELP = "list the names of a choice: dlzoo list model; or the parts of each model: dlzoo list --parts"


def arguments(parser: Parser) -> None:
    """Add the choice, --parts and --json."""
    parser.add_argument("choice", nargs="?", metavar="CHOICE", help="model, norm, ...: one of those listed below")
    parser.add_argument("--parts", action="store_true", help="which parts each model takes, as a table")
    parser.add_config_dir()
    parser.add_json()
    parser.details = _choices


def run(arguments: Namespace) -> None:
    """Print the names, or the table of parts."""
    if arguments.parts:
        if arguments.choice not in (None, "model"):
            raise UserError(f"--parts is about models, not {arguments.choice!r}; usage: dlzoo list --parts [--json]")
        _print_parts(arguments.json)
        return
    from dlzoo.show import listing

    if arguments.choice is None:
        raise UserError(f"no choice is given; usage: dlzoo list CHOICE, one of {', '.join(listing.choices())}")
    if arguments.json:
        print(json.dumps(listing.names(arguments.choice), indent=1))
    else:
        print("\n".join(listing.lines(arguments.choice)))


def _print_parts(as_json: bool) -> None:
    from dlzoo.core.console import Console
    from dlzoo.show import parts

    matrix = parts.matrix()
    if as_json:
        print(json.dumps(matrix, indent=1))
    else:
        parts.show(matrix, Console())


def _choices() -> str:
    from dlzoo.show.listing import choices_text

    return choices_text()
