"""Search for a word: entries, settings, experiments, commands and pages of docs.

Words may be those of textbooks (vanishing gradient, receptive field) or of other programs
(batchnorm, epochs). Every word must be found. `dlzoo list topics` lists the topics.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from dlzoo.show.find import Thing

HELP = "search for a word: dlzoo find overfitting; dlzoo find vanishing gradient"

#: Largest number of lines of a group without --all.
_MOST = 8


def arguments(parser: Parser) -> None:
    """Add the words, --all and --json."""
    parser.add_argument("words", nargs="+", metavar="WORD", help="what to find")
    parser.add_argument("--all", action="store_true", help=f"print all of a group, not the first {_MOST}")
    parser.add_config_dir()
    parser.add_json()


def run(arguments: Namespace) -> None:
    """Print what was found, group by group.

    Raises:
        UserError: if nothing was found.
    """
    from dlzoo import commands
    from dlzoo.show.find import find
    from dlzoo.show.topics import ALSO, TOPICS

    query = " ".join(arguments.words)
    found = find(query, commands.summaries())
    if not found:
        raise UserError(f"nothing is found for {query!r}; {did_you_mean(query, {*TOPICS, *ALSO}, 'dlzoo list topics')}")
    if arguments.json:
        print(json.dumps([{"group": each.group, "name": each.name, "about": each.about} for each in found], indent=1))
        return
    print("\n\n".join(_group(name, list(things), arguments.all) for name, things in groupby(found, lambda x: x.group)))


def _group(name: str, things: Sequence[Thing], whole: bool) -> str:
    shown = things if whole else things[:_MOST]
    width = max(len(each.name) for each in shown)
    rest = len(things) - len(shown)
    lines = [f"  {each.name:<{width}}  {each.about}".rstrip() for each in shown]
    return "\n".join([name, *lines, *([f"  ... {rest} more: --all"] if rest else [])])
