"""Print the lines that set up tab completion for bash: eval "$(dlzoo completion)"

For zsh, first: autoload -U bashcompinit && bashcompinit
"""

from __future__ import annotations

from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = 'set up tab completion: eval "$(dlzoo completion)"'


def arguments(parser: Parser) -> None:
    """Add --line."""
    parser.add_argument("--line", nargs="?", const="", metavar="LINE", help="print the words that may complete LINE")


def run(arguments: Namespace) -> None:
    """Print the lines for the shell, or the completions of a command line."""
    from dlzoo import commands
    from dlzoo.show import listing

    if arguments.line is None:
        print(listing.COMPLETION)
    else:
        print("\n".join(listing.candidates(arguments.line, commands.names())))
