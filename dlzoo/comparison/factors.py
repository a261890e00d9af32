"""What varies in many runs, what repeats, what is the same in all, and what is held against what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from dlzoo.comparison.defaults import usual
from dlzoo.comparison.dependence import Columns, Dependence, dependence
from dlzoo.comparison.design import Arm, Design, Factor, Pair, belonging
from dlzoo.comparison.levels import ABSENT, arranged, asked, favourite, is_number, level, present
from dlzoo.comparison.varying import constants, varying
from dlzoo.errors import UserError
from dlzoo.runs.differences import Config

__all__ = ["Arm", "Design", "Factor", "Pair", "design"]

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
    columns = varying(configs, {*wanted, *order})
    _refuse_constant(wanted, columns)
    runs = list(zip(*columns.values(), strict=True)) if columns else [()] * len(configs)
    rows = list(dict.fromkeys(runs))  # many runs differ in their seed only
    values = {key: [row[place] for row in rows] for place, key in enumerate(columns)}
    found = dependence(values, set(wanted), [key for key in order if key in columns])
    defaults = {key: level(usual(key, configs[0])) for key in found.factors}
    factors = tuple(_factor(key, values, found, order.get(key, ()), defaults[key]) for key in found.factors)
    of_row = dict(zip(rows, _together(found.factors, values, len(rows)), strict=True))
    arms = _arms([of_row[row] for row in runs], [config["seed"] for config in configs], factors)
    compared = tuple(factor.key for factor in factors if factor.key in (wanted or _compared(factors)))
    against = {
        factor.key: asked(factor.key, wanted[factor.key], factor.levels)
        if wanted
        else favourite(factor.key, factor.levels, order.get(factor.key, ()), defaults[factor.key])
        for factor in factors
        if factor.key in compared
    }
    joint = {key: dict(zip(of_row.values(), values[key], strict=True)) for key in found.joint}
    return Design(factors, compared, against, joint, constants(configs), arms, _missing(factors, arms))


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
    return Factor(key, arranged(key, set(values[key]), typed, usual), follows)


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
    """The runs that would make a full grid of it; where most arms are not there, only the seeds of those that are."""
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
    seeds = sorted({seed for runs in arms.values() for seed in runs})
    return [(arm, seed) for arm in grid for seed in seeds if seed not in arms.get(arm, {})]
