"""List the choices; the names of a choice, one a line; the topics; or which model takes which parts.

Losses are listed with the kinds of targets that they take. --json adds the descriptions. Topics are
words of textbooks, such as "receptive field", which `dlzoo find` looks up.
"""

from __future__ import annotations

import json
from argparse import Namespace

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError

HELP = "list the choices, the names of one (dlzoo list model), the topics, or the parts of each model (--parts)"


def arguments(parser: Parser) -> None:
    """Add the choice, --parts and --json."""
    parser.add_argument(
        "choice",
        nargs="?",
        metavar="CHOICE",
        help="model, norm, ...: one of those listed below, or topics; without it, the choices are listed",
    )
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
    from dlzoo.show import choices, listing, topics

    if arguments.choice is None:
        print(json.dumps(choices.counts(), indent=1) if arguments.json else "\n".join(choices.lines()))
    elif arguments.choice == "topics":
        print(json.dumps(topics.TOPICS, indent=1) if arguments.json else "\n".join(topics.lines()))
    elif arguments.json:
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
    from dlzoo.show.choices import choices_text

    return choices_text()
