"""Parsing of settings (key=value) and of settings with several values (norm=bn,gn)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from dlzoo.core.errors import UserError, first_line

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


#: Maximal number of runs of a sweep; each has a folder, and a larger number is a mistyped range.
_MOST = 5_000
#: Largest depth of brackets, and most characters of a setting: Hydra needs long for more.
_DEEPEST, _LONGEST = 20, 20_000

#: Values that must follow the grammar: a call, a list, a mapping, a quote, more digits than Python reads; and an empty
#: value between commas.
_GRAMMAR = re.compile(r"\s*(\w+\s*\(|[\[{\"']|[+-]?\d{4301})")
_EMPTY = re.compile(r"^\s*,|,\s*,|,\s*$")


@lru_cache(maxsize=4 * _MOST)  # the runs of a sweep have most settings in common
def parse(line: str) -> Override:
    """Parse a setting with Hydra; a value that its grammar does not support (~/data, josé) is taken as a string.

    The result is shared: it must not be changed.

    Raises:
        UserError: if it cannot be parsed, with Hydra's reason.
    """
    from dlzoo.config import grammar

    key, _, value = line.partition("=")
    _refuse_huge(line, key, value)
    if key.rstrip() != key and key.strip().replace(".", "").isidentifier():
        raise UserError(f"{line!r} has a space before the equals sign; type {key.strip()}={value.strip()}")
    try:
        override = grammar.read(line)
    except ValueError as error:
        reason = _reason(value, str(error))
        if _GRAMMAR.match(value) or _EMPTY.search(value):
            raise UserError(f"cannot read {line!r}: {reason}{_in_quotes(key, value)}") from error
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        try:
            override = grammar.read(f'{key}="{quoted}"')
        except ValueError as second:
            raise UserError(f"cannot read {line!r}: {second}") from second
    if override.package is not None:
        raise UserError(f"{line!r}: Hydra's packages (@) are not supported; type {override.key_or_group}=...")
    return override


def _refuse_huge(line: str, key: str, value: str) -> None:
    if key.count(".") > _DEEPEST:
        raise UserError(f"unknown key {key!r}")
    if len(line) > _LONGEST:
        raise UserError(f"{line!r} has {len(line):,} characters; a setting may have {_LONGEST:,}")
    if value.count("[") + value.count("{") + value.count("(") > _DEEPEST:
        depths = accumulate((letter in "[{(") - (letter in "]})") for letter in value)
        if max(depths) > _DEEPEST:
            raise UserError(f"{line!r}: brackets are nested more than {_DEEPEST} deep")


def _reason(value: str, reason: str) -> str:
    """Return Hydra's reason in plainer words, where they are known."""
    if _EMPTY.search(value):
        return "a value between commas is empty"
    if sum(map(value.count, "[{(")) > sum(map(value.count, "]})")):
        return f"a bracket is not closed ({reason})"
    return reason


def _in_quotes(key: str, value: str) -> str:
    """Return how to type the value as a word; "" if it needs more than a pair of quotes."""
    return "" if {*value} & {*"'\"\\"} or len(value) > 100 else f"; to use it as text, type '{key}=\"{value}\"'"


def value_as_typed(line: str) -> Any:
    """Return the value of a setting that takes text: 1e5, true and null in it are the text that was typed."""
    from dlzoo.config import grammar

    value = parse(line).value()
    return value if isinstance(value, str) else grammar.read(line, as_typed=True).value()


def key_of(line: str) -> str:
    """Return the key of a setting, without parsing its value: log(0.1,1) is no value of Hydra's."""
    return line.partition("=")[0].lstrip("+").strip()


def refuse_twice(lines: Iterable[str], where: str = "the command") -> None:
    """Refuse settings of which two set the same key.

    Raises:
        UserError: for the first such pair.
    """
    first: dict[str, str] = {}
    for line in lines:
        key = key_of(line)
        if key in first:
            raise UserError(f"{where} sets {key} twice: {first[key]} and {line}; keep one, or list both for a sweep"
                            f" or a comparison: {key}=a,b")  # fmt: skip
        first[key] = line


def expand(lines: Iterable[str], names: Callable[[str], Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """Return (the settings of each run, the keys that vary): every combination, the last key fastest.

    Args:
        lines: settings in Hydra's sweep syntax: a=1,2  a=range(4)  a=choice(x,y)  a=glob(resnet*).
        names: key -> its valid names, for globs.

    Raises:
        UserError: for a setting that cannot be parsed or enumerated.
    """
    columns, varying = [], []
    for line in lines:
        values = _expand_values(line, names)
        if len(values) > 1:
            varying.append(key_of(line))
        columns.append(values)
    if (count := prod(map(len, columns))) > _MOST:
        raise UserError(
            f"a sweep of {count:,} runs is larger than the limit of {_MOST:,}; name fewer values, or start two sweeps"
        )
    return [list(combination) for combination in product(*columns)], varying


def _expand_values(line: str, names: Callable[[str], Sequence[str]]) -> list[str]:
    """Return the settings, each with a single value, that a line expands to."""
    from hydra.core.override_parser.types import Glob

    if not line.partition("=")[1] or line.startswith("~"):
        return [line]  # compose raises the error, as for a single run
    override = parse(line)
    if not override.is_sweep_override():
        return [line]
    key = override.get_key_element()
    if isinstance(glob := override.value(), Glob):
        expanded = glob.filter([name for name in names(override.key_or_group) if name != "default"])
    elif override.is_discrete_sweep():
        expanded = _enumerate(override, line)
    else:
        raise UserError(f"{line!r} is continuous; use dlzoo tune, or list values, as in {key}=0.1,0.01")
    if not expanded:
        raise UserError(f"{line!r} is an empty range or matches no name; list the values")
    return list(dict.fromkeys(f"{key}={value}" for value in expanded))


def _enumerate(override: Override, line: str) -> list[str]:
    """Return the values of a choice as they were typed, without repetitions, or the numbers of a range."""
    from omegaconf.errors import OmegaConfBaseException

    from dlzoo.config import grammar

    try:
        if override.is_range_sweep():
            sweep: Any = override.value()
            # Counted first: `shuffle` makes a list of them all.
            if ceil((sweep.stop - sweep.start) / sweep.step) > _MOST:
                raise UserError(f"{line!r} has more values than a sweep may have runs ({_MOST:,})")
            return list(override.sweep_string_iterator())
        typed = list(grammar.read(line, as_typed=True).sweep_string_iterator())
    except (ValueError, ArithmeticError, AssertionError, OmegaConfBaseException) as error:
        # For example range(1,2,0), range(nan), or range(3),7.
        raise UserError(
            f"cannot list the values of {line!r}: type each value, or one range ({first_line(error)})"
        ) from error
    unique: dict[str, str] = {}
    for value in typed:
        unique.setdefault(repr(parse(f"{override.get_key_element()}={value}").value()), value)
    return list(unique.values())
