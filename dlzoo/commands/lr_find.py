"""Run the learning-rate range test: train for some steps while the learning rate rises.

The losses are plotted against the rate, and a rate is suggested. low=1e-6 and high=10 are the first
and the last rate, steps=100 is the number of steps. (Smith, arXiv:1506.01186, section 3.3)
"""

from __future__ import annotations

from argparse import Namespace

from dlzoo.commands._parser import Parser

HELP = "run the learning-rate range test: dlzoo lr-find model=resnet20"

_OF_THE_TEST = ("low", "high", "steps")


def arguments(parser: Parser) -> None:
    """Add the settings."""
    parser.own_words = _OF_THE_TEST
    parser.add_config_dir()
    parser.add_settings("settings of the training, and low=, high= and steps= of the test")


def run(arguments: Namespace) -> None:
    """Run the test."""
    from dlzoo.config import compose

    words: list[str] = arguments.settings
    # A typo is answered before torch is imported.
    compose([word for word in words if word.partition("=")[0] not in _OF_THE_TEST])
    from dlzoo.builder.lr_find import lr_find

    lr_find(words)
