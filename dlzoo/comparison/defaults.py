"""Defaults of settings."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache
from typing import Any

from dlzoo.config import DEFAULTS_FROM, default_choices, default_entry, resolved_name
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core import index, own_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import settings_of
from dlzoo.runs.differences import Config, defaults_of


def default_value(key: str, config: Config) -> Any:
    """Return the value that a setting would have if it were not set in this config: from the model, entry or trainer.

    None for a setting that is not known, such as one of a plug-in that is no longer installed.
    """
    section, _, name_of_setting = key.partition(".")
    try:
        if section not in REGISTRIES:
            return shared_defaults()[key]
        if not name_of_setting:
            # For a model that does not use a part, the choice is "default".
            return resolved_name(section, {**config, section: {"name": _usual_choices()[section]}}) or "default"
        name = config[section]["name"]
        return {**defaults_of(section, name), **_overridden_settings(section, name, config)}[name_of_setting]
    except (UserError, KeyError):
        return None


def _overridden_settings(choice: str, name: str, config: Config) -> Mapping[str, Any]:
    """Return settings that the default of a choice overrides in its entry: GoogLeNet's batch norm has its own eps."""
    if choice not in DEFAULTS_FROM:
        return {}
    known = default_entry(choice, {origin: config[origin]["name"] for origin in DEFAULTS_FROM[choice]})
    return known if isinstance(known, Mapping) and known["name"] == name else {}


@cache
def shared_defaults() -> Mapping[str, Any]:
    """Return defaults of the settings of every run: {"trainer.max_epochs": 20, "data.batch_size": 64, ...}."""
    of_run = {key: schema["default"] for key, schema in settings_of(RunSettings).items()}
    of_trainer = {f"trainer.{key}": schema["default"] for key, schema in settings_of(TrainerSettings).items()}
    of_choices = {
        f"{choice}.{key}": schema["default"]
        for choice, content in index.load().items()
        for key, schema in content["common"].items()
    }
    return of_run | of_trainer | of_choices


@own_parts.cached
def own_settings(choice: str, name: str) -> Set[str]:
    """Return the settings of an entry alone; an empty set for one that is no longer installed."""
    try:
        return frozenset(f"{choice}.{setting}" for setting in index.entries(choice)[name]["settings"])
    except (UserError, KeyError):
        return frozenset()


@cache
def _usual_choices() -> Mapping[str, str]:
    return default_choices()
