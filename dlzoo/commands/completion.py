"""Print the lines that set up tab completion for bash: eval "$(dlzoo completion)"

For zsh, first: autoload -U bashcompinit && bashcompinit
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack, suppress

from dlzoo.commands._parser import Parser

HELP = 'set up tab completion: eval "$(dlzoo completion)"'


def arguments(parser: Parser) -> None:
    """Add --line."""
    parser.add_argument("--line", nargs="?", const="", metavar="LINE", help="print the words that may complete LINE")


def run(arguments: Namespace) -> None:
    """Print the lines for the shell, or the completions of a command line."""
    from dlzoo import commands
    from dlzoo.core.errors import UserError
    from dlzoo.core.index import available
    from dlzoo.core.own_parts import typed_parts
    from dlzoo.show import listing

    if arguments.line is None:
        print(listing.COMPLETION)
        return
    *words, last = arguments.line.split(" ")
    with ExitStack() as stack:
        with suppress(UserError):  # of a file that is not there, or whose name is not yet complete
            words = stack.enter_context(typed_parts(words))
            available("norm")  # imports the files
        print("\n".join(listing.candidates(" ".join([*words, last]), commands.names())))
