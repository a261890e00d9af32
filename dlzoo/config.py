"""From what a user typed to a config that is complete, checked and plain: a dict of names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from dlzoo import index
from dlzoo.errors import UserError, did_you_mean, first_line
from dlzoo.knobs import check, knobs_of
from dlzoo.registry import REGISTRIES
from dlzoo.settings import RunSettings, TrainerSettings

Config = dict[str, Any]

#: What `<choice>=default` is filled in from: the entry of the other choice, as its registration says.
DEFAULTS_FROM = {"norm": "model", "act": "model", "init": "model", "augment": "data"}

_PACKAGE = Path(__file__).parent


def conf_dir() -> Path:
    """The hand-written part: conf/ of a checkout, or its copy inside an installed package."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"


def options(choice: str) -> list[str]:
    """Every name that may stand after `choice=`."""
    if choice in REGISTRIES:
        return sorted(index.available(choice) + (["default"] if choice in DEFAULTS_FROM else []))
    return sorted(path.stem for path in (conf_dir() / choice).glob("*.yaml"))


@cache
def choices() -> list[str]:
    """Every word that may stand before `=` and takes a name."""
    return [*REGISTRIES, *sorted(path.name for path in conf_dir().iterdir() if path.is_dir())]


def compose(overrides: Iterable[str]) -> Config:
    """The config that `overrides` ask for.

    Raises:
        UserError: for an unknown choice, name or key, or a value of the wrong type.
    """
    # Hydra costs a quarter of a second: `dlzoo list` does without it.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    lines = [_checked(line) for line in overrides]
    _fill_store()
    try:
        with initialize_config_dir(str(conf_dir().absolute()), version_base="1.3"):
            composed = hydra_compose("config", overrides=lines)
        raw = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error
    assert isinstance(raw, dict)
    return freeze({str(key): value for key, value in raw.items()})


def _checked(line: str) -> str:
    """One override for Hydra, after its key (of a choice: its name too) was looked at.

    Values are forced in ("++"), so that unknown keys are answered by `freeze`, in our words.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(line)
    except HydraException as error:
        words = [*choices(), *knobs_of(RunSettings)]
        if "=" not in line:
            raise UserError(f"{line!r} is no setting: say key=value; {did_you_mean(line, words)}") from error
        raise UserError(f"cannot read {line!r}: {first_line(error)}") from error
    if override.is_delete():
        raise UserError(f"{line!r}: a setting cannot be taken away; choose another value for it")
    if override.is_sweep_override():
        raise UserError(f"{line!r} asks for several runs; one run takes one value")
    key, value = override.key_or_group, override.value()
    if key not in choices():
        return f"++{line.lstrip('+')}"
    if value is not None and not isinstance(value, str):
        raise UserError(f"{key}={value}: needs a name; {did_you_mean(str(value), options(key))}")
    if value is None and key == "experiment":
        return line
    if value not in options(key):
        raise UserError(f"unknown {key} {str(value)!r}; {did_you_mean(str(value), options(key))}")
    return line.lstrip("+")


@cache
def _fill_store() -> None:
    """Give Hydra the entries of the registries and the defaults of the hand-written groups."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for choice in REGISTRIES:
        for name in options(choice):
            store.store(group=choice, name=name, node=default_section(choice, name))
    store.store(group="trainer", name="base", node=_defaults(knobs_of(TrainerSettings)))


def default_section(choice: str, name: str) -> Config:
    """A choice's part of the config: its name and the defaults of its knobs."""
    return {"name": name} | (_defaults(index.knobs(choice, name)) if name != "default" else {})


def _defaults(knobs: Mapping[str, Mapping[str, Any]]) -> Config:
    return {name: schema["default"] for name, schema in knobs.items()}


def freeze(raw: Mapping[str, Any], where: str = "") -> Config:
    """`raw` checked key by key, its types made exact, and each `default` filled in.

    Args:
        where: what to put before an error, such as the file that `raw` was read from.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    run_knobs = knobs_of(RunSettings)
    sections = [*REGISTRIES, "trainer"]
    for key in raw:
        if key not in run_knobs and key not in sections:
            raise UserError(f"{where}unknown key {key!r}; {_suggest(key)}")
    frozen: Config = {name: _value(name, schema, raw, where) for name, schema in run_knobs.items()}
    for section in sections:
        given = raw.get(section)
        if not isinstance(given, Mapping):
            raise UserError(f"{where}{section} must be a section with its settings, not {given!r}")
    # What a default is filled in from (model, data) is settled first.
    for choice in sorted(REGISTRIES, key=lambda choice: choice in DEFAULTS_FROM):
        frozen[choice] = _section(choice, dict(raw[choice]), frozen, where)
    frozen["trainer"] = _values("trainer.", knobs_of(TrainerSettings), raw["trainer"], where, "trainer")
    return frozen


def _section(choice: str, given: Config, frozen: Config, where: str) -> Config:
    name = given.pop("name", None)
    if name not in options(choice):
        raise UserError(f"{where}unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")
    if choice in DEFAULTS_FROM:
        origin = frozen[DEFAULTS_FROM[choice]]["name"]
        meta = index.entries(DEFAULTS_FROM[choice])[origin]["meta"]
        if name == "default" and choice in meta:
            name = meta[choice]
            given = default_section(choice, name) | given
            del given["name"]
        elif name != "default" and choice not in meta:
            raise UserError(
                f"{where}{DEFAULTS_FROM[choice]}={origin} has no place for {choice}={name}; leave {choice} out,"
                f" or choose another {DEFAULTS_FROM[choice]}"
            )
    knobs = index.knobs(choice, name) if name != "default" else {}
    return {"name": name} | _values(f"{choice}.", knobs, given, where, f"{choice}={name}")


def _values(
    prefix: str, knobs: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any], where: str, owner: str
) -> Config:
    for key in given:
        if key not in knobs:
            raise UserError(f"{where}unknown key '{prefix}{key}': {owner} has none; {did_you_mean(key, knobs)}")
    return {name: _value(f"{prefix}{name}", schema, given, where) for name, schema in knobs.items()}


def _value(key: str, schema: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Any:
    name = key.rpartition(".")[2]
    if name not in given:
        raise UserError(f"{where}{key} is missing")
    try:
        value = check(schema, given[name])
    except ValueError as error:
        raise UserError(f"{where}{key} {error}") from None
    return list(value) if isinstance(value, tuple) else value


def _suggest(key: str) -> str:
    """The closest word for an unknown key; a knob that stands in a section is named with it."""
    homes = {name: f"trainer.{name}" for name in knobs_of(TrainerSettings)}
    for choice in REGISTRIES:
        homes |= {name: f"{choice}.{name}" for name in index.load()[choice]["common"]}
    homes |= {name: f"optimizer.{name}" for name in index.knobs("optimizer", "sgd")}
    if key in homes:
        return f"did you mean {homes[key]!r}?"
    return did_you_mean(key, [*choices(), *knobs_of(RunSettings), *homes.values()])


def read(path: Path) -> Config:
    """The frozen config in a file, checked again: a person may have edited it.

    Raises:
        UserError: if the file is not there, is no YAML, or is no config; with its line where YAML knows it.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({first_line(error)})") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: not a config")
    return freeze(raw, where=f"{path}: ")
