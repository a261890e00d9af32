"""Compose the settings that a user typed into a complete, checked config: a plain dict of names and numbers."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlzoo.config import suggest
from dlzoo.config.conf_files import experiment_files, sections_in_files
from dlzoo.config.data_defaults import defaults_for_data
from dlzoo.config.defaults import (
    DEFAULTS_FROM,
    FILE_CHOICES,
    SWEEP_ONLY,
    Config,
    choices,
    conf_dir,
    conf_dirs,
    default_entry,
    default_settings,
    file_of,
    is_option,
    is_path,
    resolved_name,
    unknown_name,
)
from dlzoo.config.file_defaults import with_defaults_of_files
from dlzoo.config.finalise import finalise
from dlzoo.config.overrides import parse, refuse_twice
from dlzoo.config.sources import Sources
from dlzoo.config.with_hydra import compose_files
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core import own_parts
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registries import REGISTRIES

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

#: Paths and times of the files that a config is composed of, and hashes of the parts files in use.
ConfState = tuple[tuple[str, int], ...]


def compose(
    overrides: Iterable[str],
    *,
    in_sweep: bool = False,
    written: Collection[str] = (),
    state: ConfState | None = None,
) -> Config:
    """Return the complete, checked config of `overrides` (key=value); the last one of a key holds.

    Args:
        in_sweep: whether this is one run of a sweep, so that an experiment that is a comparison is allowed.
        written: keys of `overrides` that are not typed, but listed in the file of the experiment.
        state: the state of the files under conf/, for callers that compose many configs; by default it is read.

    Raises:
        UserError: for an unknown choice, name or key, or a value of the wrong type.
    """
    if isinstance(overrides, str):
        raise UserError(f"settings must be a list of strings, such as [{overrides!r}], not a string")
    overrides = list(overrides)
    state = state or conf_state()
    config, files = _compose(overrides, in_sweep, written, state)
    if added := defaults_for_data(config, overrides, files):
        config, _ = _compose([*added, *overrides], in_sweep, written, state)
    return config


def _compose(
    overrides: Sequence[str], in_sweep: bool, written: Collection[str], state: ConfState
) -> tuple[Config, tuple[str, ...]]:
    """Return the config of `overrides`, and the files that it was composed of."""
    chosen: dict[str, str] = {}
    values, lines = [], {}
    for line in overrides:
        override = _parse(line)
        key, value = override.key_or_group, override.value()
        lines[key] = line
        if key not in choices():
            values.append(override)
        elif value is None:
            chosen.pop(key, None)
        else:
            name = str(value)
            chosen[key] = f"{key}={file_of(key, name) if is_path(key, name) else name}"
    files = tuple(word for key, word in chosen.items() if key not in REGISTRIES)
    raw = deepcopy(_compose_choices(tuple(chosen.values()), files, state + _states_of_paths(files)))
    if raw.pop("comparison", None) and not in_sweep:
        experiment = lines["experiment"].lstrip("+")
        raise UserError(f"{experiment} compares several runs; type dlzoo compare {experiment}")
    _refuse_single_values(raw, files)
    _restore_model_defaults(raw)
    for override in values:
        _set_value(raw, override.key_or_group, override.value())
    sources = Sources(lines, written, partial(_paths, files))
    return finalise(with_defaults_of_files(_resolve(raw, sources), sources), sources), files


def _paths(files: Sequence[str]) -> list[Path]:
    """Return the files that set defaults, in order of precedence."""
    words = dict(word.split("=", 1) for word in files)
    experiment = experiment_files(words.pop("experiment")) if "experiment" in words else []
    return [*experiment, *(file_of(choice, name) for choice, name in words.items()), conf_dir() / "config.yaml"]


def _refuse_single_values(raw: Config, files: Sequence[str]) -> None:
    for choice in REGISTRIES:
        if not isinstance(raw[choice], Mapping):
            where = next((path for path in _paths(files) if choice in (read_yaml(path) or {})), conf_dir())
            raise UserError(f"{where}: {choice} is {raw[choice]!r}, but must have settings; choose it under defaults,"
                            f" as in - override /{choice}: {raw[choice]}")  # fmt: skip


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
        hint = suggest.for_word(line) if key else "type key=value, such as model=resnet20"
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
    if isinstance(value, str) and is_path(key, value):
        if not os.path.isfile(file_of(key, value)):
            raise UserError(f"{line}: there is no such file")
    elif not isinstance(value, str) or not is_option(key, value):
        raise unknown_name(key, value)
    return override


def with_changes(config: Config, overrides: Iterable[str], allowed: Iterable[str]) -> Config:
    """Return a finalised config with other values for some of its settings, checked again.

    Args:
        allowed: the settings and choices (with their settings) that may change.

    Raises:
        UserError: for a setting that is not in `allowed`, or an invalid value.
    """
    raw, lines = deepcopy(config), {}
    overrides = list(overrides)
    refuse_twice(overrides)
    for line in overrides:
        override = _parse(line)
        lines[override.key_or_group] = line
        key, value = override.key_or_group, override.value()
        if key not in allowed and key.partition(".")[0] not in allowed:
            raise UserError(f"{line!r} cannot be changed here; these can: {', '.join(allowed)}")
        if key in REGISTRIES:
            raw[key] = {"name": value} | default_settings(key, str(value))
        else:
            _set_value(raw, key, value)
    return finalise(raw, Sources(lines))


def conf_state() -> ConfState:
    """Return what identifies the state of the files under conf/ and the folders beside it, and of the user's parts."""
    own, *added = conf_dirs()
    folders = [own, *(folder / choice for folder in added for choice in FILE_CHOICES)]
    paths = (path for folder in folders for path in folder.rglob("*.yaml") if os.path.isfile(path))
    files = tuple(sorted((str(path), os.stat(path).st_mtime_ns) for path in paths))
    parts, registered = own_parts.state()
    return *files, *((file, registered) for file in (*parts, ""))


def _states_of_paths(files: Sequence[str]) -> ConfState:
    paths = (word.partition("=")[2] for word in files if is_path(*word.split("=", 1)))
    return tuple((path, os.stat(path).st_mtime_ns) for path in paths)


def _compose_choices(chosen: tuple[str, ...], files: tuple[str, ...], state: ConfState) -> Config:
    """Compose choices. Values are set later, because a sweep has few choices and many values.

    Hydra needs 0.2 s, so it composes the files only; the sections of chosen entries are then replaced, as it would do.
    """
    known = sections_in_files(files, state)
    if known is None:
        return compose_files(chosen, state)
    entries = dict(word.split("=", 1) for word in chosen if word not in files)
    return compose_files(files, state) | {
        choice: {"name": name} | default_settings(choice, name) | known.get(choice, {})
        for choice, name in entries.items()
    }


def _set_value(raw: Config, key: str, value: Any) -> None:
    """Set raw["a"]["b"] = value, for the key "a.b"."""
    *sections, name = key.split(".")
    for depth, section in enumerate(sections, 1):
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise UserError(f"unknown key {key!r}: {'.'.join(sections[:depth])} is a single value")
    raw[name] = deepcopy(value)  # the parsed setting is shared


def _resolve(raw: Config, sources: Sources) -> Config:
    """Return `raw` with its interpolations (${seed}) resolved.

    Raises:
        UserError: for one that cannot be resolved, with its key, and the file if it was not typed.
    """
    if not any(mark in str(raw) for mark in ("${", "???")):
        return raw
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        resolved = OmegaConf.to_container(OmegaConf.create(raw), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key or "")
        raise UserError(f"{sources.prefix(key)}{key}{': ' if key else ''}{first_line(error)}") from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}
