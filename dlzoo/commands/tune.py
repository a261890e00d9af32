"""Search for settings with Optuna.

A setting to search has a range of values or several:

  optimizer.lr=log(0.001,1)         numbers, on a logarithmic scale
  optimizer.lr=uniform(0.1,1)       numbers; integers for a setting that takes only integers
  optimizer.lr=interval(0.1,1)      the same, as Hydra writes it
  model.width=range(8,64,8)         integers in steps, without the last one
  norm=choice(bn,gn) or norm=bn,gn  names or numbers

Trials are compared by their best validation result. They are written to outputs/NAME (name=NAME),
with a plot of them in tune.png. trials=20 is the number of trials. Repeat the command to resume a
search.
"""

from __future__ import annotations

from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "search for settings: dlzoo tune model=mlp 'optimizer.lr=log(0.001,1)' trials=20"


def arguments(parser: Parser) -> None:
    """Add the settings."""
    parser.own_words = ("trials", "metric")
    parser.add_config_dir()
    parser.add_settings("settings, some of them to be searched, and trials=20")


def run(arguments: Namespace) -> int:
    """Search and return the exit code; 1 if no trial finished."""
    from dlzoo.sweep.tune import tune

    return 0 if tune(arguments.settings) else 1
