"""Which of the settings that differ are factors, and which only change along with one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod
from typing import Any

from dlzoo.core.registries import REGISTRIES

#: key -> its values, one a run or one an arm.
Columns = Mapping[str, Sequence[Hashable]]

#: How a network is trained: what is adapted to a model or a batch size, and seldom the other way round.
_TRAINING = ("optimizer", "schedule", "trainer", "init_from")


@dataclass(frozen=True)
class Dependence:
    """Which settings decide the others.

    Args:
        factors: the settings that decide all others: those that somebody varied first, in that order.
        leader: setting -> the one factor that it changes along with.
        joint: settings that several factors decide together.
    """

    factors: list[str]
    leader: dict[str, str]
    joint: list[str]


def dependence(columns: Columns, named: Set[str], varied: Sequence[str]) -> Dependence:
    """Sort settings into factors and what follows from them.

    Of settings that determine each other one is the factor: one that somebody named, else what is trained rather than
    how, one that somebody varied, a choice (norm) rather than a knob. A coarser setting follows a finer one: it cannot
    be told apart from it. But no choice follows a knob of its own, as norm would norm.num_groups, and nothing that is
    trained follows how it is trained: a norm with a few rates of its own is still what was chosen.

    Args:
        columns: the values of each setting, an arm each.
        named: settings that are factors whatever they depend on.
        varied: settings that somebody varied on purpose, in that order.
    """
    places = {key: place for place, key in enumerate(columns)}

    def rank(key: str) -> tuple[Any, ...]:
        return key not in named, _is_training(key), key not in varied, key not in REGISTRIES, places[key]

    keys = sorted(columns, key=rank)
    leaders = {key: [] if key in named else _leaders(key, keys, columns, named) for key in keys}
    free = [key for key in keys if not leaders[key]]
    leader = {}
    for key in keys:
        among = [other for other in leaders[key] if other in free]
        if among:
            leader[key] = min(among, key=lambda other: len(set(columns[other])))
    factors = [key for key in keys if key not in leader]
    for key in [key for key in reversed(factors) if key not in named]:
        others = [other for other in factors if other != key]
        if len(others) > 1 and _crossed(others, columns) and determines(_together(others, columns), columns[key]):
            factors.remove(key)
    joint = [key for key in keys if key not in factors and leader.get(key) not in factors]
    order = {key: place for place, key in enumerate(varied)}
    return Dependence(
        sorted(factors, key=lambda key: order.get(key, len(order))),
        {key: other for key, other in leader.items() if other in factors},
        joint,
    )


def determines(by: Sequence[Hashable], what: Sequence[Hashable]) -> bool:
    """Whether equal values of the one always come with equal values of the other."""
    return len(set(zip(by, what, strict=True))) == len(set(by))


def _leaders(key: str, keys: Sequence[str], columns: Columns, named: Set[str]) -> list[str]:
    """The settings that `key` may follow; `keys` are sorted, and of two that determine each other the first leads."""

    def may_lead(other: str) -> bool:
        of_its_own = key in REGISTRIES and other.startswith(f"{key}.")
        how_only = _is_training(other) and not _is_training(key) and other not in named
        return other != key and not of_its_own and not how_only

    place = keys.index(key)
    return [
        other
        for at, other in enumerate(keys)
        if may_lead(other)
        and determines(columns[other], columns[key])
        and (at < place or not determines(columns[key], columns[other]))
    ]


def _is_training(key: str) -> bool:
    return key.partition(".")[0] in _TRAINING


def _together(keys: Sequence[str], columns: Columns) -> list[Hashable]:
    return list(zip(*(columns[key] for key in keys), strict=True))


def _crossed(keys: Sequence[str], columns: Columns) -> bool:
    """Whether every combination of the values is there."""
    return len(set(_together(keys, columns))) == prod(len(set(columns[key])) for key in keys)
