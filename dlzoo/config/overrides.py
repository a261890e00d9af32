"""What a person types: settings (key=value), and settings that stand for several runs (norm=bn,gn)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING

from dlzoo.core.errors import UserError, first_line

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


#: Runs of a sweep. Each is a folder; and who means more has mistyped a range.
_MOST = 100_000


def parse(line: str) -> Override:
    """Hydra's reading of a setting; a value that its grammar does not support (~/data, josé) is taken as a word.

    Raises:
        UserError: if it cannot be read.
    """
    # Hydra costs a quarter of a second: `dlzoo list` does without it.
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
            raise UserError(f"cannot read {line!r}: {first_line(error)}") from error


def expand(lines: Iterable[str], names: Callable[[str], Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """(the settings of each run, the keys of those that vary): every combination, the last key fastest.

    Args:
        lines: with Hydra's sweep syntax: a=1,2  a=range(4)  a=choice(x,y)  a=glob(resnet*).
        names: what may stand after `key=`, for globs.

    Raises:
        UserError: for a setting that cannot be read or enumerated.
    """
    columns, varying = [], []
    for line in lines:
        values = _values(line, names)
        if len(values) > 1:
            varying.append(line.partition("=")[0].lstrip("+"))
        columns.append(values)
    if (count := prod(map(len, columns))) > _MOST:
        raise UserError(f"{count:,} runs are more than a sweep can have ({_MOST:,})")
    return [list(combination) for combination in product(*columns)], varying


def _values(line: str, names: Callable[[str], Sequence[str]]) -> list[str]:
    """The settings that one stands for."""
    from hydra.core.override_parser.types import Glob

    if not line.partition("=")[1] or line.startswith("~"):
        return [line]  # to be refused as that of a single run would be
    override = parse(line)
    if not override.is_sweep_override():
        return [line]
    key = override.get_key_element()
    if isinstance(glob := override.value(), Glob):
        found = glob.filter([name for name in names(override.key_or_group) if name != "default"])
    elif override.is_discrete_sweep():
        found = _listed(override, line)
    else:
        raise UserError(f"{line!r} has no end of values: it is for `dlzoo tune`; name some, as in {key}=0.1,0.01")
    if not found:
        raise UserError(f"{line!r} stands for no value at all")
    return list(dict.fromkeys(f"{key}={value}" for value in found))


def _listed(override: Override, line: str) -> list[str]:
    from omegaconf.errors import OmegaConfBaseException

    try:
        found = list(islice(override.sweep_string_iterator(), _MOST + 1))
    except (ValueError, ZeroDivisionError, AssertionError, OmegaConfBaseException) as error:
        # Of range(1,2,0), and of range(3),7.
        raise UserError(f"cannot list the values of {line!r}: say each, or one range ({first_line(error)})") from error
    if len(found) > _MOST:
        raise UserError(f"{line!r} stands for more values than a sweep can have ({_MOST:,})")
    return found
