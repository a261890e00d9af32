"""Parsing of settings (key=value) and of settings with several values (norm=bn,gn)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING

from dlzoo.core.errors import UserError, first_line

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


#: Maximal number of runs of a sweep; each has a folder, and a larger number is a mistyped range.
_MOST = 100_000


@lru_cache(maxsize=4096)  # the runs of a sweep have most settings in common
def parse(line: str) -> Override:
    """Parse a setting with Hydra; a value that its grammar does not support (~/data, josé) is taken as a string.

    The result is shared: it must not be changed.

    Raises:
        UserError: if it cannot be parsed.
    """
    # Importing Hydra takes a quarter of a second, and `dlzoo list` does not need it.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    try:
        return parser.parse_override(line)
    except HydraException as error:
        key, _, value = line.partition("=")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        try:
            return parser.parse_override(f'{key}="{quoted}"')
        except HydraException:
            raise UserError(f"cannot parse {line!r}: {first_line(error)}") from error


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
            varying.append(line.partition("=")[0].lstrip("+"))
        columns.append(values)
    if (count := prod(map(len, columns))) > _MOST:
        raise UserError(f"a sweep of {count:,} runs is larger than the limit of {_MOST:,}; name fewer values")
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
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = list(islice(override.sweep_string_iterator(), _MOST + 1))
    except (ValueError, ZeroDivisionError, AssertionError, OmegaConfBaseException) as error:
        # For example range(1,2,0), or range(3),7.
        raise UserError(
            f"cannot list the values of {line!r}: type each value, or one range ({first_line(error)})"
        ) from error
    if len(values) > _MOST:
        raise UserError(f"{line!r} has more values than a sweep may have runs ({_MOST:,})")
    return values
