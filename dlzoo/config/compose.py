"""Compose the settings that a user typed into a complete, checked config: a plain dict of names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from dlzoo.config.conf_files import sections_in_files
from dlzoo.config.defaults import (
    DEFAULTS_FROM,
    SWEEP_ONLY,
    Config,
    choices,
    conf_dir,
    default_entry,
    default_settings,
    options,
    resolved_name,
    unknown_name,
)
from dlzoo.config.finalise import finalise
from dlzoo.config.overrides import parse
from dlzoo.config.settings import RunSettings
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.files import regular
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import settings_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_composing = Lock()


def compose(overrides: Iterable[str], *, in_sweep: bool = False) -> Config:
    """Return the complete, checked config of `overrides` (key=value).

    Args:
        in_sweep: whether this is one run of a sweep, so that an experiment that is a comparison is allowed.

    Raises:
        UserError: for an unknown choice, name or key, or a value of the wrong type.
    """
    if isinstance(overrides, str):
        raise UserError(f"settings must be a list of strings, such as [{overrides!r}], not a string")
    chosen, values = [], []
    for line in overrides:
        override = _parse(line)
        if override.key_or_group not in choices():
            values.append(override)
        elif override.value() is not None:
            chosen.append(f"{override.key_or_group}={override.value()}")
    raw = deepcopy(_compose_choices(tuple(chosen), _conf_state()))
    if raw.pop("comparison", None) and not in_sweep:
        experiment = next(word for word in chosen if word.startswith("experiment="))
        raise UserError(f"{experiment} compares several runs; type dlzoo compare {experiment}")
    _restore_model_defaults(raw)
    for override in values:
        _set_value(raw, override.key_or_group, override.value())
    return finalise(_resolve(raw))


def _restore_model_defaults(raw: Config) -> None:
    """Replace a named part that is the model's default by `default`: norm=bn for GoogLeNet keeps the model's eps."""
    for choice in DEFAULTS_FROM:
        known = default_entry(choice, {origin: resolved_name(origin, raw) for origin in DEFAULTS_FROM[choice]})
        name = raw[choice].get("name")
        if (
            isinstance(known, Mapping)
            and name == known["name"]
            and raw[choice] == {"name": name} | default_settings(choice, name)
        ):
            raw[choice] = {"name": "default"}


def _parse(line: str) -> Override:
    """Parse an override; check its syntax and the names of choices, but leave unknown keys to `finalise`."""
    key, equals, _ = line.partition("=")
    if line.startswith("~"):
        raise UserError(f"{line!r}: a setting cannot be removed; set another value instead")
    if not key or not equals:
        words = [f"{word}=..." for word in (*choices(), *settings_of(RunSettings))]
        hint = "type key=value" if f"{line}=..." in words else did_you_mean(line, words)
        raise UserError(f"{line!r} is not a setting (key=value); {hint}")
    override = parse(line)
    if override.is_sweep_override():
        raise UserError(f"{line!r} has several values: add -m for a sweep, or quote a literal comma: '\"a,b\"'")
    key, value = override.key_or_group, override.value()
    section, _, rest = key.partition(".")
    if section == "hydra":
        raise UserError(f"unknown key {key!r}: Hydra's own settings are not supported")
    if section in choices() and rest == "name":
        raise UserError(f"{line!r}: type {section}={value} instead")
    if section in SWEEP_ONLY:
        raise UserError(f"{line!r} is a setting of a sweep: add -m")
    if key not in choices() or (value is None and key == "experiment"):
        return override
    if not isinstance(value, str) or value not in options(key):
        raise unknown_name(key, value)
    return override


def with_changes(config: Config, overrides: Iterable[str], allowed: Iterable[str]) -> Config:
    """Return a finalised config with other values for some of its settings, checked again.

    Args:
        allowed: the settings and choices (with their settings) that may change.

    Raises:
        UserError: for a setting that is not in `allowed`, or an invalid value.
    """
    raw = deepcopy(config)
    for line in overrides:
        override = _parse(line)
        key, value = override.key_or_group, override.value()
        if key not in allowed and key.partition(".")[0] not in allowed:
            raise UserError(f"{line!r} cannot be changed here; these can: {', '.join(allowed)}")
        if key in REGISTRIES:
            raw[key] = {"name": value} | default_settings(key, str(value))
        else:
            _set_value(raw, key, value)
    return finalise(raw)


def _conf_state() -> tuple[tuple[str, int], ...]:
    """Return the paths and times of the files under conf/, which identify its state."""
    return tuple(sorted((str(path), regular(path).stat().st_mtime_ns) for path in conf_dir().rglob("*.yaml")))


def _compose_choices(chosen: tuple[str, ...], conf_state: tuple[tuple[str, int], ...]) -> Config:
    """Compose choices. Values are set later, because a sweep has few choices and many values.

    Hydra needs 0.2 s, so it composes the files only; the sections of chosen entries are then replaced, as it would do.
    """
    files = tuple(word for word in chosen if word.partition("=")[0] not in REGISTRIES)
    known = sections_in_files(conf_dir(), files, conf_state)
    if known is None:
        return _compose_with_hydra(chosen, conf_state)
    entries = dict(word.split("=", 1) for word in chosen if word not in files)
    return _compose_with_hydra(files, conf_state) | {
        choice: {"name": name} | default_settings(choice, name) | known.get(choice, {})
        for choice, name in entries.items()
    }


@lru_cache(maxsize=256)
def _compose_with_hydra(chosen: tuple[str, ...], conf_state: tuple[tuple[str, int], ...]) -> Config:
    """Compose choices with Hydra. `conf_state`: unused; a changed file makes a new cache key."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _composing:  # Hydra's state is global to the process
            _fill_store()
            with initialize_config_dir(str(conf_dir().absolute()), version_base="1.3"):
                composed = hydra_compose("config", overrides=list(chosen))
        raw = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error
    except (OSError, ValueError, TypeError, RecursionError) as error:  # a file that is no config
        raise UserError(f"{' '.join(chosen) or 'conf/config.yaml'} cannot be composed: {first_line(error)}") from error
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _set_value(raw: Config, key: str, value: Any) -> None:
    """Set raw["a"]["b"] = value, for the key "a.b"."""
    *sections, name = key.split(".")
    for depth, section in enumerate(sections, 1):
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise UserError(f"unknown key {key!r}: {'.'.join(sections[:depth])} is a single value")
    raw[name] = deepcopy(value)  # the parsed setting is shared


def _resolve(raw: Config) -> Config:
    """Return `raw` with its interpolations (${seed}) resolved."""
    if not any(mark in str(raw) for mark in ("${", "???")):
        return raw
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


@cache
def _fill_store() -> None:
    """Store the entries of the registries and the trainer's defaults in Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for choice in REGISTRIES:
        for name in options(choice):
            store.store(group=choice, name=name, node={"name": name} | default_settings(choice, name))
    store.store(group="trainer", name="base", node=default_settings("trainer"))
