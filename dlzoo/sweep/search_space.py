"""Parse the search space of a search."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dlzoo import config as configs
from dlzoo.config.overrides import expand, parse
from dlzoo.core.errors import UserError

Space = dict[str, BaseDistribution]

_RANGE = re.compile(r"(log|uniform)\((?P<low>[^,()]+),(?P<high>[^,()]+)\)")
_CALL = re.compile(r"(\w+)\(")
_KNOWN = ("log", "uniform", "interval", "range", "choice", "glob", "tag", "int", "float", "str", "shuffle", "sort")


def split(lines: Sequence[str]) -> tuple[list[str], Space]:
    """Return (the fixed settings, the search space of the others).

    log(a,b), uniform(a,b), interval(a,b), tag(log,interval(a,b)): a number from a to b, an integer if the setting takes
    only integers; choice(x,y), x,y, range(a,b): one of these.

    Raises:
        UserError: for a value that cannot be read, or if there is nothing to search.
    """
    fixed, ranges, space = [], {}, Space()
    for line in lines:
        key, _, value = line.partition("=")
        if match := _RANGE.fullmatch(value.strip()):
            ranges[key] = (_number(match["low"], line), _number(match["high"], line), match[1] == "log")
            continue
        if (word := _CALL.match(value)) and word[1] not in _KNOWN:
            raise UserError(f"{line!r}: unknown {word[1]!r}; available: {', '.join(_KNOWN)}")
        if word and word[1] in ("log", "uniform"):
            raise UserError(f"cannot read {line!r}: {word[1]}(a,b) takes two numbers")
        override = parse(line) if value else None
        about_all = key.partition(".")[0] in (*configs.SWEEP_ONLY, "name", "run_dir")
        if override is None or not override.is_sweep_override() or about_all:  # plan() reports the error
            fixed.append(line)
        elif override.is_interval_sweep():
            interval: Any = override.value()
            ranges[key] = (interval.start, interval.end, "log" in interval.tags)
        else:
            values = [each.partition("=")[2] for (each,) in expand([line], configs.options)[0]]
            space[key] = CategoricalDistribution(values)
    for key, (low, high, is_log) in ranges.items():
        if not -inf < low < high < inf or (is_log and low <= 0):
            raise UserError(f"{key}: from {low} to {high} is not a valid {'logarithmic ' if is_log else ''}range")
        # Hydra converts the ends to floats; only the setting knows whether it takes a float.
        is_integer = low == int(low) and high == int(high) and not _takes(fixed, space, key, low + 0.5)
        space[key] = (
            IntDistribution(int(low), int(high), is_log) if is_integer else FloatDistribution(low, high, is_log)
        )
    if not space:
        raise UserError("nothing to search; set a range such as optimizer.lr='log(0.001,1)' or norm='choice(bn,gn)'")
    return fixed, space


def settings_of_trial(values: dict[str, Any]) -> list[str]:
    """Return the settings of a trial, with floats rounded to four significant digits."""
    return [f"{key}={float(f'{value:.4g}')!r}" if isinstance(value, float) else f"{key}={value}"
            for key, value in values.items()]  # fmt: skip


def _number(text: str, line: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"cannot read {line!r}: {text.strip()!r} is not a number") from None


def _takes(fixed: list[str], space: Space, key: str, value: float) -> bool:
    """Return whether a setting takes `value`, with the first value of each choice."""
    first = [f"{name}={kind.choices[0]}" for name, kind in space.items() if isinstance(kind, CategoricalDistribution)]
    try:
        configs.compose([*fixed, *first, f"{key}={value}"])
    except UserError:
        return False
    return True


def example_of(kind: BaseDistribution) -> Any:
    """Return some value of a distribution, to check the rest of a config with."""
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[0]
    assert isinstance(kind, (FloatDistribution, IntDistribution))
    return kind.high
