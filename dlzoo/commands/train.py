"""Train a network.

A setting is a key=value word; what is not set has its default. The run is written to a new folder
in outputs/, or to run_dir=DIR. resume=DIR resumes a run that was stopped, with its own settings.
parts=FILE adds entries of your own, from a Python file or a folder of them.

With -m a setting may have several values, and each combination of them is a run. Repeat the command
to run what is missing. experiment=NAME, if the experiment compares settings, does what
`dlzoo compare experiment=NAME` does.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from dlzoo.commands._parser import Parser
from dlzoo.core.errors import UserError

HELP = "train a network: dlzoo train model=densenet121 norm=gn (python train.py is the same)"


def arguments(parser: Parser) -> None:
    """Add -m and the settings."""
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="run each combination of the values: norm=bn,gn 'seed=range(8)'"
    )
    parser.add_config_dir()
    parser.add_settings("settings; the usual ones are listed below", compares=True)
    parser.details = _settings


def run(arguments: Namespace) -> int | None:
    """Start a new run, resume one, or start a run for each combination of values."""
    settings: list[str] = arguments.settings
    if arguments.multirun:
        from dlzoo.sweep.request import parse_sweep
        from dlzoo.sweep.sweep import sweep

        return 0 if sweep(parse_sweep(settings)).ok else 1
    if any(word.startswith("experiment=") for word in settings):
        from dlzoo.sweep.experiment import named_comparison

        if named_comparison(settings):
            from dlzoo.commands.compare import compare

            return compare(settings)
    if any(word.startswith("resume=") for word in settings):
        return _resume(settings)
    from dlzoo.config import compose
    from dlzoo.config.overrides import refuse_twice

    refuse_twice(settings)
    config = compose(settings)  # a typo is answered before torch is imported
    from dlzoo.builder.execute import begin

    begin(config)
    return None


def _resume(settings: Sequence[str]) -> None:
    path = next(word for word in settings if word.startswith("resume=")).removeprefix("resume=")
    if not path:
        raise UserError("resume= names no run; type resume=outputs/RUN (`dlzoo runs` lists them)")
    from dlzoo.commands.run import refuse_changes, resume

    refuse_changes(path, [word for word in settings if not word.startswith("resume=")])
    if len(settings) > 1:
        raise UserError("resume=DIR resumes a run with its own settings; it takes no other setting")
    resume(path)


def _settings() -> str:
    from dlzoo.show.listing import common_text

    return common_text()
