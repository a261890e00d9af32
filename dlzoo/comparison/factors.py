"""What varies in many runs, what repeats, what is the same in all, and what is held against what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from itertools import product
from math import prod
from typing import Any

from dlzoo.comparison.defaults import default_value, shared_defaults
from dlzoo.comparison.dependence import Columns, Dependence, dependence, determines
from dlzoo.comparison.design import Arm, Design, Factor, belonging
from dlzoo.comparison.levels import ABSENT, find_level, is_number, level, ordered_levels, present, reference_level
from dlzoo.core.errors import UserError
from dlzoo.core.registries import PARTS, REGISTRIES
from dlzoo.runs.differences import Config, chosen, differing, flat

#: Settings that change how long a run takes or where things lie, and no number that it measures.
_NO_MATTER = ("trainer.threads", "trainer.log_every", "trainer.checkpoint_every", "data.cache", "data.download")
#: A grid of more arms than this was never meant to be full.
_LARGEST_GRID = 100_000


def design(
    configs: Sequence[Config], baseline: Sequence[str] = (), order: Mapping[str, Sequence[str]] | None = None
) -> Design:
    """What the configs of many runs are a comparison of.

    Args:
        configs: one a run.
        baseline: what to hold the others against, as typed: ["norm=bn"].
        order: setting -> its values as somebody typed them in a sweep.

    Raises:
        UserError: for a baseline that is not there.
    """
    wanted, order = _typed(baseline), order or {}
    columns = _varying(configs, {*wanted, *order})
    _refuse_constant(wanted, columns)
    runs = list(zip(*columns.values(), strict=True)) if columns else [()] * len(configs)
    rows = list(dict.fromkeys(runs))  # many runs differ in their seed only
    values = {key: [row[place] for row in rows] for place, key in enumerate(columns)}
    found = dependence(values, set(wanted), [key for key in order if key in columns])
    defaults = {key: level(default_value(key, configs[0])) for key in found.factors}
    factors = tuple(_factor(key, values, found, order.get(key, ()), defaults[key]) for key in found.factors)
    of_row = dict(zip(rows, _together(found.factors, values, len(rows)), strict=True))
    arms = _arms([of_row[row] for row in runs], [config["seed"] for config in configs], factors)
    compared = tuple(factor.key for factor in factors if factor.key in (wanted or _compared(factors)))
    against = {
        factor.key: find_level(factor.key, wanted[factor.key], factor.levels)
        if wanted
        else reference_level(factor.key, factor.levels, order.get(factor.key, ()), defaults[factor.key])
        for factor in factors
        if factor.key in compared
    }
    joint = {key: dict(zip(of_row.values(), values[key], strict=True)) for key in found.joint}
    return Design(factors, compared, against, joint, _constants(configs), arms, _missing(factors, arms))


def _varying(configs: Sequence[Config], meant: Set[str]) -> dict[str, Sequence[Hashable]]:
    """The settings that differ, but for the seed and what repeats with it: key -> its value in each run.

    Args:
        configs: one a run.
        meant: settings that somebody varied on purpose, and that count though they may not matter.
    """
    settings, seeds = [flat(config) for config in configs], [config["seed"] for config in configs]
    found = {}
    for key in differing(configs):
        if key == "seed" or (key in _NO_MATTER and key not in meant):
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
    return level(settings.get(key, shared_defaults().get(key, ABSENT)))


def _constants(configs: Sequence[Config]) -> dict[str, Any]:
    """The settings that all runs have in common, without those that are as they are by default."""
    if not configs:
        return {}
    first, settings = configs[0], [flat(config) for config in configs]
    return {
        key: value
        for key, value in chosen(first).items()
        if key != "seed"
        and key not in _NO_MATTER
        and all(key in each and each[key] == value for each in settings)
        and (_is_always_said(key) or value != default_value(key, first))
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


def _typed(baseline: Sequence[str]) -> dict[str, str]:
    """["norm=bn"] as {"norm": "bn"}."""
    found = {}
    for word in baseline:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UserError(f"baseline {word!r}: say it as key=value, such as norm=bn")
        if key in found:
            raise UserError(f"baseline {key}={value}: {key}={found[key]} was said as well; a factor has one baseline")
        found[key] = value
    return found


def _refuse_constant(wanted: Mapping[str, str], columns: Columns) -> None:
    for key, word in wanted.items():
        if key not in columns:
            there = f"what does: {', '.join(columns)}" if columns else "nothing but the seed does"
            raise UserError(f"baseline {key}={word}: {key} does not vary; {there}")


def _factor(key: str, values: Columns, found: Dependence, typed: Sequence[str], usual: Any) -> Factor:
    follows = {
        other: {at: value for at, value in zip(values[key], values[other], strict=True) if value is not ABSENT}
        for other, leader in found.leader.items()
        if leader == key
    }
    return Factor(key, ordered_levels(key, set(values[key]), typed, usual), follows)


def _together(keys: Sequence[str], values: Columns, count: int) -> list[Arm]:
    return list(zip(*(values[key] for key in keys), strict=True)) if keys else [()] * count


def _arms(
    arm_of_run: Sequence[Arm], seeds: Sequence[int], factors: Sequence[Factor]
) -> dict[Arm, dict[int, list[int]]]:
    """arm -> seed -> runs, both in order."""
    found: dict[Arm, dict[int, list[int]]] = {}
    for run, (arm, seed) in enumerate(zip(arm_of_run, seeds, strict=True)):
        found.setdefault(arm, {}).setdefault(seed, []).append(run)
    places = [{level: place for place, level in enumerate(factor.levels)} for factor in factors]
    return {
        arm: dict(sorted(found[arm].items()))
        for arm in sorted(found, key=lambda arm: [known[level] for known, level in zip(places, arm, strict=True)])
    }


def _compared(factors: Sequence[Factor]) -> list[str]:
    """What is compared where nobody says what: words, under each of the numbers; numbers where there is nothing else.

    Which split or draw of the data was used repeats a comparison rather than being one.
    """
    words = [factor.key for factor in factors if not all(map(is_number, present(factor.levels)))]
    numbers = [factor.key for factor in factors if not factor.key.endswith("seed")]
    return words or numbers or [factor.key for factor in factors]


def _missing(factors: Sequence[Factor], arms: Mapping[Arm, Mapping[int, Any]]) -> list[tuple[Arm, int]]:
    """The runs that would make a full grid of it; where most arms are not there, only those of the arms that are."""
    grid = list(arms)
    if prod(len(factor.levels) for factor in factors) <= _LARGEST_GRID:
        nested = [(at, within) for at, factor in enumerate(factors) for within in belonging(factors, factor)]
        having = {(at, within, arm[at], arm[within] is ABSENT) for arm in arms for at, within in nested}
        full = [
            arm
            for arm in product(*(factor.levels for factor in factors))
            if all((at, within, arm[at], arm[within] is ABSENT) in having for at, within in nested)
        ]
        grid = full if len(full) < 2 * len(arms) else grid
    seeds = _demanded(arms)
    return [(arm, seed) for arm in grid for seed in seeds if seed not in arms.get(arm, {})]


def _demanded(arms: Mapping[Arm, Mapping[int, Any]]) -> list[int]:
    """The seeds that more than half of the arms have.

    Exactly half are enough where the arms share most of their seeds: of two arms, what one has the other lacks; seeds
    of their own (0-7 and 8-15) are none that the other lacks.
    """
    counts = Counter(seed for runs in arms.values() for seed in runs)
    most = sorted(seed for seed, count in counts.items() if 2 * count > len(arms))
    half = sorted(seed for seed, count in counts.items() if 2 * count >= len(arms))
    return half if len(half) <= 2 * len(most) else most
