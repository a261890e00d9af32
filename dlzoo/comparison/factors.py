"""Design of a comparison from configs: factors, repetitions, constants and baselines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from itertools import product
from math import prod
from typing import Any

from dlzoo.comparison.defaults import default_value, shared_defaults
from dlzoo.comparison.dependence import Columns, Dependence, dependence, determines
from dlzoo.comparison.design import Arm, Design, Factor, dependent_factors
from dlzoo.comparison.levels import (
    ABSENT,
    find_level,
    is_number,
    level,
    ordered_levels,
    present_levels,
    reference_level,
)
from dlzoo.core.errors import UserError
from dlzoo.core.registries import PARTS, REGISTRIES
from dlzoo.runs.differences import Config, chosen_settings, differing_keys, flatten

#: Settings that change the duration of a run, or which files it has and where, but not its metrics.
_IRRELEVANT = (
    *("trainer.threads", "trainer.log_every", "trainer.checkpoint_every", "trainer.checkpoint_activations"),
    *("trainer.keep_every", "trainer.keep_best", "data.cache", "data.download"),
)
#: A grid of more arms than this is not meant to be complete.
_LARGEST_GRID = 100_000


def make_design(
    configs: Sequence[Config], baseline: Sequence[str] = (), order: Mapping[str, Sequence[str]] | None = None
) -> Design:
    """Return the design of the comparison of many runs.

    Args:
        configs: one for each run.
        baseline: the levels to compare the others with, as typed: ["norm=bn"].
        order: setting -> its values as typed in a sweep.

    Raises:
        UserError: for a baseline that no run has.
    """
    typed, order = _parse_baseline(baseline), order or {}
    columns = _varying_settings(configs, {*typed, *order})
    _refuse_constant(typed, columns)
    runs = list(zip(*columns.values(), strict=True)) if columns else [()] * len(configs)
    rows = list(dict.fromkeys(runs))  # many runs differ only in their seed
    values = {key: [row[place] for row in rows] for place, key in enumerate(columns)}
    roles = dependence(values, set(typed), [key for key in order if key in columns])
    defaults = {key: level(default_value(key, configs[0])) for key in roles.factors}
    factors = tuple(_factor(key, values, roles, order.get(key, ()), defaults[key]) for key in roles.factors)
    of_row = dict(zip(rows, _zip_columns(roles.factors, values, len(rows)), strict=True))
    arms = _arms([of_row[row] for row in runs], [config["seed"] for config in configs], factors)
    compared = tuple(factor.key for factor in factors if factor.key in (typed or _choose_compared(factors)))
    against = {
        factor.key: find_level(factor.key, typed[factor.key], factor.levels)
        if typed
        else reference_level(factor.key, factor.levels, order.get(factor.key, ()), defaults[factor.key])
        for factor in factors
        if factor.key in compared
    }
    joint = {key: dict(zip(of_row.values(), values[key], strict=True)) for key in roles.joint}
    return Design(factors, compared, against, joint, _constants(configs), arms, _missing_runs(factors, arms))


def _varying_settings(configs: Sequence[Config], meant: Set[str]) -> dict[str, Sequence[Hashable]]:
    """Return the settings that differ, except the seed and those derived from it: key -> its value in each run.

    Args:
        configs: one for each run.
        meant: settings varied on purpose, which count even if they are irrelevant to metrics.
    """
    settings, seeds = [flatten(config) for config in configs], [config["seed"] for config in configs]
    columns = {}
    for key in differing_keys(configs):
        if key == "seed" or (key in _IRRELEVANT and key not in meant):
            continue
        values = [_value(key, each) for each in settings]
        column = values if key in meant else _replace_seed(key, values, seeds)
        if len(set(column)) > 1:
            columns[key] = column
    return columns


def _value(key: str, settings: Mapping[str, Any]) -> Hashable:
    section, dot, _ = key.partition(".")
    if dot and section in PARTS and settings.get(section) == "none":
        return ABSENT  # drop.place of drop=none
    # A run of an older version lacks new settings: it had their present defaults.
    return level(settings.get(key, shared_defaults().get(key, ABSENT)))


def _constants(configs: Sequence[Config]) -> dict[str, Any]:
    """Return the settings that all runs have in common: the main choices, and others that are not defaults."""
    if not configs:
        return {}
    first, settings = configs[0], [flatten(config) for config in configs]
    return {
        key: value
        for key, value in chosen_settings(first).items()
        if key != "seed"
        and key not in _IRRELEVANT
        and all(key in each and each[key] == value for each in settings)
        and (_is_always_listed(key) or value != default_value(key, first))
    }


def _is_always_listed(key: str) -> bool:
    return key in REGISTRIES and key not in PARTS and key != "init"


def _replace_seed(key: str, column: Sequence[Hashable], seeds: Sequence[int]) -> Sequence[Hashable]:
    """Replace values derived from the seed by ${seed}: data.split_seed=${seed} is the same setting in every run."""
    if len(set(seeds)) < 2 or key in REGISTRIES:
        return column
    if key.endswith("seed") and determines(seeds, column):
        return ["${seed}"] * len(column)
    written = [_insert_seed(value, seed) for value, seed in zip(column, seeds, strict=True)]
    return column if None in written else written


def _insert_seed(value: Hashable, seed: int) -> str | None:
    """Return `value` with ${seed} in place of the seed; None if it does not contain the seed."""
    if isinstance(value, str):
        text, count = re.subn(rf"(?<!\d){seed}(?!\d)", "${seed}", value)
        return text if count else None
    return "${seed}" if value == seed and not isinstance(value, bool) else None


def _parse_baseline(baseline: Sequence[str]) -> dict[str, str]:
    """Parse ["norm=bn"] to {"norm": "bn"}."""
    levels = {}
    for word in baseline:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise UserError(f"baseline {word!r} must be key=value, such as norm=bn")
        if key in levels:
            raise UserError(f"baseline {key}={value}: {key}={levels[key]} was given as well; a factor has one baseline")
        levels[key] = value
    return levels


def _refuse_constant(typed: Mapping[str, str], columns: Columns) -> None:
    for key, word in typed.items():
        if key not in columns:
            varying = f"settings that vary: {', '.join(columns)}" if columns else "only the seed varies"
            raise UserError(f"baseline {key}={word}: {key} does not vary; {varying}")


def _factor(key: str, values: Columns, roles: Dependence, typed: Sequence[str], default: Any) -> Factor:
    follows = {
        other: {at: value for at, value in zip(values[key], values[other], strict=True) if value is not ABSENT}
        for other, leader in roles.leader.items()
        if leader == key
    }
    return Factor(key, ordered_levels(key, set(values[key]), typed, default), follows)


def _zip_columns(keys: Sequence[str], values: Columns, count: int) -> list[Arm]:
    return list(zip(*(values[key] for key in keys), strict=True)) if keys else [()] * count


def _arms(
    arm_of_run: Sequence[Arm], seeds: Sequence[int], factors: Sequence[Factor]
) -> dict[Arm, dict[int, list[int]]]:
    """Return arm -> seed -> runs, arms and seeds in order."""
    arms: dict[Arm, dict[int, list[int]]] = {}
    for run, (arm, seed) in enumerate(zip(arm_of_run, seeds, strict=True)):
        arms.setdefault(arm, {}).setdefault(seed, []).append(run)
    places = [{level: place for place, level in enumerate(factor.levels)} for factor in factors]
    return {
        arm: dict(sorted(arms[arm].items()))
        for arm in sorted(arms, key=lambda arm: [known[level] for known, level in zip(places, arm, strict=True)])
    }


def _choose_compared(factors: Sequence[Factor]) -> list[str]:
    """Return the factors to compare by default: those with words, at each number; if there are none, numeric ones.

    A seed of the data or of its split is a repetition of a comparison, so it is the last resort.
    """
    words = [factor.key for factor in factors if not all(map(is_number, present_levels(factor.levels)))]
    numbers = [factor.key for factor in factors if not factor.key.endswith("seed")]
    return words or numbers or [factor.key for factor in factors]


def _missing_runs(factors: Sequence[Factor], arms: Mapping[Arm, Mapping[int, Any]]) -> list[tuple[Arm, int]]:
    """Return the runs missing from a full grid; if most arms have no run, only those of the arms that have some."""
    grid = list(arms)
    if prod(len(factor.levels) for factor in factors) <= _LARGEST_GRID:
        nested = [(at, within) for at, factor in enumerate(factors) for within in dependent_factors(factors, factor)]
        having = {(at, within, arm[at], arm[within] is ABSENT) for arm in arms for at, within in nested}
        full = [
            arm
            for arm in product(*(factor.levels for factor in factors))
            if all((at, within, arm[at], arm[within] is ABSENT) in having for at, within in nested)
        ]
        grid = full if len(full) < 2 * len(arms) else grid
    seeds = _expected_seeds(arms)
    return [(arm, seed) for arm in grid for seed in seeds if seed not in arms.get(arm, {})]


def _expected_seeds(arms: Mapping[Arm, Mapping[int, Any]]) -> list[int]:
    """Return the seeds that more than half of the arms have.

    Exactly half is enough if the arms share most of their seeds: of two arms, one may lack a seed of the other. If they
    have different seeds (0-7 and 8-15), none are missing.
    """
    counts = Counter(seed for runs in arms.values() for seed in runs)
    most = sorted(seed for seed, count in counts.items() if 2 * count > len(arms))
    half = sorted(seed for seed, count in counts.items() if 2 * count >= len(arms))
    return half if len(half) <= 2 * len(most) else most
