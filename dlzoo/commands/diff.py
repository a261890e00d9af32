"""Show what differs between two runs: settings, and the data, code, versions and device."""

from __future__ import annotations

import json
from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "show what differs between two runs: dlzoo diff RUN RUN"


def arguments(parser: Parser) -> None:
    """Add the two runs and --json."""
    parser.add_argument("first", metavar="RUN", help="a run directory")
    parser.add_argument("second", metavar="RUN", help="another run directory")
    parser.add_json()


def run(arguments: Namespace) -> None:
    """Print the differences."""
    from dlzoo.show import diff

    differences = diff.diff(arguments.first, arguments.second)
    print(json.dumps(differences, indent=1) if arguments.json else diff.text(differences))
