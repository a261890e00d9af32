"""Settings in which configs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlzoo.core import index, own_parts
from dlzoo.core.errors import UserError

Config = Mapping[str, Any]

#: Names and places of runs, which do not count as differences.
NAMES = ("name", "run_dir")
#: Settings that do not change a result: those, and what happens beside the training.
NOT_COMPARED = (*NAMES, "hooks", "hook")


def flatten(config: Config) -> dict[str, Any]:
    """Flatten a config to {"model": "resnet20", "model.width": 16, ..., "seed": 0}: a choice is its name."""
    settings = {}
    for key, value in config.items():
        if key in NOT_COMPARED:
            continue
        if isinstance(value, Mapping):
            settings |= {(key if name == "name" else f"{key}.{name}"): item for name, item in value.items()}
        else:
            settings[key] = value
    return settings


def chosen_settings(config: Config) -> dict[str, Any]:
    """Return the result of `flatten` without the settings of an entry that have the entry's defaults."""
    settings = flatten(config)
    for choice, section in config.items():
        if isinstance(section, Mapping) and "name" in section:
            for key, default in defaults_of(choice, section["name"]).items():
                if section.get(key) == default:
                    settings.pop(f"{choice}.{key}", None)
    return settings


@own_parts.cached
def defaults_of(choice: str, name: str) -> dict[str, Any]:
    """Return the defaults of an entry's settings; an empty dict for one that is no longer installed."""
    try:
        return {key: schema["default"] for key, schema in index.settings(choice, name).items()}
    except (UserError, KeyError):
        return {}


def differing_keys(configs: Sequence[Config]) -> list[str]:
    """Return the keys of `chosen_settings` in which the configs differ; the seed, which is a repetition, comes last."""
    settings, effective = [chosen_settings(config) for config in configs], [flatten(config) for config in configs]
    keys = dict.fromkeys(key for each in settings for key in each)
    return sorted((key for key in keys if _differ(key, settings) and _differ(key, effective)), key="seed".__eq__)


def _differ(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    return any(each.get(key, _MISSING) != settings[0].get(key, _MISSING) for each in settings)


def format_value(value: Any) -> str:
    """Format a value as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(format_value, value))}]"
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


_MISSING = object()
