"""Which settings differ from run to run, which only repeat, and which are the same in all."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any

from dlzoo.comparison.defaults import shared, usual
from dlzoo.comparison.dependence import determines
from dlzoo.comparison.levels import ABSENT, level
from dlzoo.registry import PARTS, REGISTRIES
from dlzoo.runs.differences import Config, chosen, differing, flat

#: Settings that change how long a run takes or where things lie, and no number that it measures.
NO_MATTER = ("trainer.threads", "trainer.log_every", "trainer.checkpoint_every", "data.cache", "data.download")


def varying(configs: Sequence[Config], meant: Set[str]) -> dict[str, Sequence[Hashable]]:
    """The settings that differ, but for the seed and what repeats with it: key -> its value in each run.

    Args:
        configs: one a run.
        meant: settings that somebody varied on purpose, and that count though they may not matter.
    """
    settings, seeds = [flat(config) for config in configs], [config["seed"] for config in configs]
    found = {}
    for key in differing(configs):
        if key == "seed" or (key in NO_MATTER and key not in meant):
            continue
        values = [_value(key, each) for each in settings]
        column = values if key in meant else _without_seed(key, values, seeds)
        if len(set(column)) > 1:
            found[key] = column
    return found


def _value(key: str, settings: Mapping[str, Any]) -> Hashable:
    section, dot, _ = key.partition(".")
    if dot and section in PARTS and settings.get(section) == "none":
        return ABSENT  # drop.place of drop=none
    # A run of an older version lacks the settings that are new: it had what is now their default.
    return level(settings.get(key, shared().get(key, ABSENT)))


def constants(configs: Sequence[Config]) -> dict[str, Any]:
    """The settings that all runs have in common, without those that are as they are by default."""
    if not configs:
        return {}
    first, settings = configs[0], [flat(config) for config in configs]
    return {
        key: value
        for key, value in chosen(first).items()
        if key != "seed"
        and key not in NO_MATTER
        and all(key in each and each[key] == value for each in settings)
        and (_is_always_said(key) or value != usual(key, first))
    }


def _is_always_said(key: str) -> bool:
    return key in REGISTRIES and key not in PARTS and key != "init"


def _without_seed(key: str, column: Sequence[Hashable], seeds: Sequence[int]) -> Sequence[Hashable]:
    """A column without what repeats in it: data.split_seed=${seed} varies, and is the same setting in every run."""
    if len(set(seeds)) < 2 or key in REGISTRIES:
        return column
    if key.endswith("seed") and determines(seeds, column):
        return ["${seed}"] * len(column)
    written = [_as_written(value, seed) for value, seed in zip(column, seeds, strict=True)]
    return column if None in written else written


def _as_written(value: Hashable, seed: int) -> str | None:
    """`value` with ${seed} where it has the seed; None if it has not."""
    if isinstance(value, str):
        text, count = re.subn(rf"(?<!\d){seed}(?!\d)", "${seed}", value)
        return text if count else None
    return "${seed}" if value == seed and not isinstance(value, bool) else None
