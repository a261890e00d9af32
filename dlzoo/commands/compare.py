"""Run a sweep and report on it.

Settings are those of `dlzoo train -m`: some of them have several values. Settings that vary
together are put in quotes: 'model=resnet20 model.width=20' 'model=resnext29_8x64d model.width=16'.
Repeat the command to run what is missing. Words for the whole comparison:

  experiment=NAME       a comparison that is defined in conf/experiment (`dlzoo list experiment`)
  scale=tiny            the size at which that experiment is run (`dlzoo show experiment NAME`)
  base='SETTINGS'       settings of every run
  seeds=8               the number of seeds
  baseline=norm=bn      what the report compares the others with
  metric=test/f1_macro  the metric that the report compares
  margin=0.01           differences up to this are treated as equal, in the metric's unit
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from dlzoo.commands._parser import Parser
from dlzoo.config import COMPARE_ONLY

HELP = "run a sweep and report on it: dlzoo compare norm=bn,gn base='data.batch_size=4' seeds=8"


def arguments(parser: Parser) -> None:
    """Add the settings."""
    parser.own_words = COMPARE_ONLY
    parser.add_config_dir()
    parser.add_settings("settings, of which some have several values, and the words above", compares=True)


def run(arguments: Namespace) -> int:
    """Run the comparison and return its exit code."""
    return compare(arguments.settings)


def compare(words: Sequence[str]) -> int:
    """Run the sweep that `words` describe, print its report and return the exit code; 1 if a run did not finish.

    Raises:
        UserError: for words that cannot be read, or as `dlzoo.sweep.sweep.sweep` does.
    """
    from dlzoo.sweep.request import parse_comparison
    from dlzoo.sweep.sweep import sweep

    swept = sweep(parse_comparison(words))
    if not swept.dry and any(row.state == "finished" for row in swept.rows):
        from dlzoo.report.report import summary, write

        print(summary(*write(swept.folder)))
    return 0 if swept.ok else 1
