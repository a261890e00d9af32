"""Design of a comparison: factors, arms and pairs of an arm and its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dlzoo.comparison.levels import ABSENT, is_number, present_levels
from dlzoo.runs.differences import format_value

#: A level of each factor.
Arm = tuple[Any, ...]


@dataclass(frozen=True)
class Factor:
    """A setting that varies: its levels in order, and `follows`, the settings that change along: key -> level -> value.

    A level without such a setting is left out of it; `ABSENT` is the level of arms without the factor itself.
    """

    key: str
    levels: tuple[Any, ...]
    follows: dict[str, dict[Any, Any]]

    @property
    def numeric(self) -> bool:
        return all(map(is_number, self.levels))


@dataclass(frozen=True)
class Pair:
    """An arm and its baseline, which differ in a factor and the settings that belong to it.

    Args:
        factor: the compared factor.
        level, against: its values in the arm and the baseline.
        context: the other factors and their values; if one arm lacks a setting, the value of the other.
        arm, baseline: the two arms.
    """

    factor: Factor
    level: Any
    against: Any
    context: tuple[tuple[str, Any], ...]
    arm: Arm
    baseline: Arm


@dataclass(frozen=True)
class Design:
    """Design of a comparison of many runs.

    Args:
        factors: the settings that vary, in the order of an arm's levels.
        compared: keys of the factors whose levels are compared with a baseline; the others are contexts.
        baseline: key -> level, for the compared factors.
        joint: settings that several factors determine together: key -> arm -> value.
        constants: notable settings that all runs have in common.
        arms: arm -> seed -> indices of its runs in the configs; several are repetitions of the same run.
        missing: pairs (arm, seed) without a run that other arms or seeds have.
    """

    factors: tuple[Factor, ...]
    compared: tuple[str, ...]
    baseline: dict[str, Any]
    joint: dict[str, dict[Arm, Any]]
    constants: dict[str, Any]
    arms: dict[Arm, dict[int, list[int]]]
    missing: list[tuple[Arm, int]]

    def label(self, arm: Arm) -> str:
        """Return "norm=gn data.batch_size=4", without settings that the arm does not have."""
        levels = zip(self.factors, arm, strict=True)
        words = [f"{factor.key}={format_value(value)}" for factor, value in levels if value is not ABSENT]
        return " ".join(words) or "all runs"

    def settings(self, arm: Arm) -> dict[str, Any]:
        """Return the arm's value of every setting that varies."""
        settings = {}
        for factor, value in zip(self.factors, arm, strict=True):
            settings[factor.key] = value
            settings |= {key: values[value] for key, values in factor.follows.items() if value in values}
        settings |= {key: values[arm] for key, values in self.joint.items() if arm in values}
        return {key: value for key, value in settings.items() if value is not ABSENT}

    def pairs(self) -> list[Pair]:
        """Return pairs of each level of a compared factor and its baseline, with all other factors equal.

        A setting that belongs to the factor, and that only one of the two arms has, need not be equal: norm=gn with
        each of its norm.num_groups is compared with the same norm=bn.
        """
        return [pair for factor in self.factors if factor.key in self.compared for pair in self._pairs(factor)]

    def _pairs(self, factor: Factor) -> list[Pair]:
        place, against = self.factors.index(factor), self.baseline[factor.key]
        within = dependent_factors(self.factors, factor)
        kept = [at for at in range(len(self.factors)) if at != place and at not in within]
        order = {level: at for at, level in enumerate(factor.levels)}
        baselines: dict[Arm, list[Arm]] = {}
        for arm in self.arms:
            if arm[place] == against:
                baselines.setdefault(tuple(arm[at] for at in kept), []).append(arm)
        return [
            Pair(factor, arm[place], against, self._context(arm, baseline, place), arm, baseline)
            for arm in sorted(self.arms, key=lambda arm: order[arm[place]])
            if arm[place] not in (against, ABSENT)
            for baseline in baselines.get(tuple(arm[at] for at in kept), [])
            if all(arm[at] == baseline[at] or ABSENT in (arm[at], baseline[at]) for at in within)
        ]

    def _context(self, arm: Arm, baseline: Arm, place: int) -> tuple[tuple[str, Any], ...]:
        both = [present_levels((one, other)) for one, other in zip(arm, baseline, strict=True)]
        return tuple((self.factors[at].key, values[0]) for at, values in enumerate(both) if values and at != place)


def dependent_factors(factors: Sequence[Factor], owner: Factor) -> list[int]:
    """Return indices of the factors that are settings of another one's levels: norm.num_groups of norm."""
    sections = {owner.key, *owner.follows}
    return [place for place, factor in enumerate(factors) if "." in factor.key and factor.key.split(".")[0] in sections]
