"""Separation of the settings that differ into factors and settings that change along with one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from math import prod
from typing import Any

from dlzoo.core.registries import REGISTRIES

#: Key -> its values, one for each run or arm.
Columns = Mapping[str, Sequence[Hashable]]

#: Sections of training settings, which are adapted to a model or a batch size rather than the other way round.
_TRAINING = ("optimizer", "schedule", "trainer", "init_from")


@dataclass(frozen=True)
class Dependence:
    """Factors, and the settings that they determine.

    Args:
        factors: settings that determine all others: those varied on purpose first, in their order.
        leader: setting -> the factor that it changes along with.
        joint: settings that several factors determine together.
    """

    factors: list[str]
    leader: dict[str, str]
    joint: list[str]


def dependence(columns: Columns, named: Set[str], varied: Sequence[str]) -> Dependence:
    """Separate settings into factors and settings that follow from them.

    If settings determine each other, one is the factor: a named one, else one of the network rather than of its
    training, one varied on purpose, a choice (norm) rather than a parameter. A coarser setting follows a finer one, as
    their effects cannot be told apart. But no choice follows a parameter of its own (norm does not follow
    norm.num_groups), and no setting of the network follows one of its training: a norm that is trained with several
    rates is still the factor.

    Args:
        columns: the values of each setting, one for each arm.
        named: settings that are factors whatever they depend on.
        varied: settings varied on purpose, in their order.
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
        if (
            len(others) > 1
            and _are_crossed(others, columns)
            and determines(_zip_columns(others, columns), columns[key])
        ):
            factors.remove(key)
    joint = [key for key in keys if key not in factors and leader.get(key) not in factors]
    order = {key: place for place, key in enumerate(varied)}
    return Dependence(
        sorted(factors, key=lambda key: order.get(key, len(order))),
        {key: other for key, other in leader.items() if other in factors},
        joint,
    )


def determines(by: Sequence[Hashable], what: Sequence[Hashable]) -> bool:
    """Return whether equal values of `by` always have equal values of `what`."""
    return len(set(zip(by, what, strict=True))) == len(set(by))


def _leaders(key: str, keys: Sequence[str], columns: Columns, named: Set[str]) -> list[str]:
    """Return the settings that `key` may follow; of two `keys` that determine each other, the first one leads."""

    def may_lead(other: str) -> bool:
        own_parameter = key in REGISTRIES and other.startswith(f"{key}.")
        training_only = _is_training(other) and not _is_training(key) and other not in named
        return other != key and not own_parameter and not training_only

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


def _zip_columns(keys: Sequence[str], columns: Columns) -> list[Hashable]:
    return list(zip(*(columns[key] for key in keys), strict=True))


def _are_crossed(keys: Sequence[str], columns: Columns) -> bool:
    """Return whether every combination of the values occurs."""
    return len(set(_zip_columns(keys, columns))) == prod(len(set(columns[key])) for key in keys)
