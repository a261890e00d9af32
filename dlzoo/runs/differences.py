"""In which settings configs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from dlzoo.core import index
from dlzoo.core.errors import UserError

Config = Mapping[str, Any]

#: Where a run lies and what it is called: two runs do not differ by it.
NAMES = ("name", "run_dir")


def flat(config: Config) -> dict[str, Any]:
    """{"model": "resnet20", "model.width": 16, ..., "seed": 0}: a choice stands for its name."""
    settings = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            settings |= {(key if name == "name" else f"{key}.{name}"): item for name, item in value.items()}
        elif key not in NAMES:
            settings[key] = value
    return settings


def chosen(config: Config) -> dict[str, Any]:
    """`flat` without what follows from a choice: the settings of an entry that are as the entry has them."""
    settings = flat(config)
    for choice, section in config.items():
        if isinstance(section, Mapping) and "name" in section:
            for key, default in defaults_of(choice, section["name"]).items():
                if section.get(key) == default:
                    settings.pop(f"{choice}.{key}", None)
    return settings


@cache
def defaults_of(choice: str, name: str) -> dict[str, Any]:
    """What the settings of an entry are when nobody changes them; nothing for one that is not installed any more."""
    try:
        return {key: schema["default"] for key, schema in index.knobs(choice, name).items()}
    except (UserError, KeyError):
        return {}


def differing(configs: Sequence[Config]) -> list[str]:
    """The keys of `chosen` that tell the configs apart; the seed, which repeats and compares nothing, comes last."""
    settings, effective = [chosen(config) for config in configs], [flat(config) for config in configs]
    keys = dict.fromkeys(key for each in settings for key in each)
    found = [key for key in keys if _differ(key, settings) and _differ(key, effective)]
    return sorted(found, key="seed".__eq__)


def _differ(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return any(each.get(key, _NOT_THERE) != settings[0].get(key, _NOT_THERE) for each in settings)


def format_value(value: Any) -> str:
    """A value as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(format_value, value))}]"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


_NOT_THERE = object()
