"""What a setting is where nobody says anything of it."""

from __future__ import annotations

from collections.abc import Mapping, Set
from functools import cache
from typing import Any

from dlzoo.config import DEFAULTS_FROM, settled, stands_for, usual_choices
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import knobs_of
from dlzoo.runs.differences import Config, defaults_of


def default_value(key: str, config: Config) -> Any:
    """What a setting would be if it were left out of this config: that of the model, of the entry, of the trainer.

    None for one that is not known any more, as of a plug-in that is gone.
    """
    section, _, knob = key.partition(".")
    try:
        if section not in REGISTRIES:
            return shared_defaults()[key]
        if not knob:
            # A model without a place for a part has it as "default".
            return settled(section, {**config, section: {"name": _usual_choices()[section]}}) or "default"
        name = config[section]["name"]
        return {**defaults_of(section, name), **_changed(section, name, config)}[knob]
    except (UserError, KeyError):
        return None


def _changed(choice: str, name: str, config: Config) -> Mapping[str, Any]:
    """What the default of a choice has other than its entry has it: GoogLeNet's batch norm has its eps."""
    if choice not in DEFAULTS_FROM:
        return {}
    known = stands_for(choice, {origin: config[origin]["name"] for origin in DEFAULTS_FROM[choice]})
    return known if isinstance(known, Mapping) and known["name"] == name else {}


@cache
def shared_defaults() -> Mapping[str, Any]:
    """The settings that every run has, and their defaults: {"trainer.max_epochs": 20, "data.batch_size": 64, ...}."""
    of_run = {key: schema["default"] for key, schema in knobs_of(RunSettings).items()}
    of_trainer = {f"trainer.{key}": schema["default"] for key, schema in knobs_of(TrainerSettings).items()}
    of_choices = {
        f"{choice}.{key}": schema["default"]
        for choice, content in index.load().items()
        for key, schema in content["common"].items()
    }
    return of_run | of_trainer | of_choices


@cache
def own_settings(choice: str, name: str) -> Set[str]:
    """The settings that an entry has to itself; none for one that is not installed any more."""
    try:
        return frozenset(f"{choice}.{knob}" for knob in index.entries(choice)[name]["knobs"])
    except (UserError, KeyError):
        return frozenset()


@cache
def _usual_choices() -> Mapping[str, str]:
    return usual_choices()
