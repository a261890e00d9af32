"""Compose the settings that a user typed to a complete, checked config: a plain dict of names and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import yaml

from dlzoo.config.overrides import parse
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.registries import PARTS, REGISTRIES
from dlzoo.core.schema import check, knobs_of

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Config = dict[str, Any]

#: Choices whose registrations define the meaning of `<choice>=default`, in order of precedence.
DEFAULTS_FROM = {
    **dict.fromkeys(("model", "augment"), ("data",)),
    **dict.fromkeys((*PARTS, "init", "backbone", "box_loss", "nms"), ("model",)),
    "loss": ("model", "data"),
}

#: The sections of a config; each but the last is a registry.
SECTIONS = [*REGISTRIES, "trainer"]

#: Sections about a set of runs, which are not part of a run's config: a choice with files under conf/, and a section.
SWEEP_ONLY = ("executor", "sweep")

#: Words of `dlzoo compare` that are not settings of its runs.
COMPARE_ONLY = ("base", "seeds", "scale", "baseline", "metric", "margin")

_PACKAGE = Path(__file__).parent.parent
_composing = Lock()


def conf_dir() -> Path:
    """Return the folder of the hand-written files: conf/ of a checkout, or its copy inside an installed package."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"


def options(choice: str) -> list[str]:
    """Return every valid name of a choice."""
    if choice in REGISTRIES:
        return sorted(index.available(choice) + (["default"] if choice in DEFAULTS_FROM else []))
    return sorted(path.stem for path in (conf_dir() / choice).glob("*.yaml"))


def default_choices() -> dict[str, str]:
    """Return choice -> its default name in config.yaml."""
    defaults = yaml.safe_load((conf_dir() / "config.yaml").read_text())["defaults"]
    return {choice: str(name) for item in defaults if isinstance(item, dict) for choice, name in item.items()}


def head_comment(choice: str, name: str) -> list[str]:
    """Return the lines of the comment at the top of a file under conf/, without Hydra's `@package` line."""
    lines = (conf_dir() / choice / f"{name}.yaml").read_text().splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return [line.lstrip("# ") for line in comment if not line.startswith("# @package")]


@cache
def choices() -> list[str]:
    """Return every choice of a run, such as "model": words before `=` that take a name."""
    folders = sorted(path.name for path in conf_dir().iterdir() if path.is_dir())
    return [*REGISTRIES, *(name for name in folders if name not in SWEEP_ONLY)]


def compose(overrides: Iterable[str], *, of_several: bool = False) -> Config:
    """Return the complete, checked config of `overrides` (key=value).

    Args:
        of_several: whether this is one run of a sweep, so that an experiment that is a comparison is allowed.

    Raises:
        UserError: for an unknown choice, name or key, or a value of the wrong type.
    """
    if isinstance(overrides, str):
        raise UserError(f"settings must be a list of strings, such as [{overrides!r}], not a string")
    chosen, values = [], []
    for line in overrides:
        override = _parsed(line)
        if override.key_or_group not in choices():
            values.append(override)
        elif override.value() is not None:
            chosen.append(f"{override.key_or_group}={override.value()}")
    raw = deepcopy(_composed(tuple(chosen), _conf_state()))
    if raw.pop("comparison", None) and not of_several:
        experiment = next(word for word in chosen if word.startswith("experiment="))
        raise UserError(f"{experiment} compares several runs; type dlzoo compare {experiment}")
    _restore_model_defaults(raw)
    for override in values:
        _set_value(raw, override.key_or_group, override.value())
    return finalise(_resolved(raw))


def _restore_model_defaults(raw: Config) -> None:
    """Replace a named part that is the model's default by `default`: norm=bn for GoogLeNet keeps the model's eps."""
    for choice in DEFAULTS_FROM:
        known = default_entry(choice, {origin: resolved_name(origin, raw) for origin in DEFAULTS_FROM[choice]})
        name = raw[choice].get("name")
        if (
            isinstance(known, Mapping)
            and name == known["name"]
            and raw[choice] == {"name": name} | _defaults(choice, name)
        ):
            raw[choice] = {"name": "default"}


def resolved_name(choice: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of a choice; for `default`, the name that it resolves to."""
    name = sections[choice]["name"]
    if name != "default" or choice not in DEFAULTS_FROM:
        return name
    known = default_entry(choice, {origin: resolved_name(origin, sections) for origin in DEFAULTS_FROM[choice]})
    return known["name"] if isinstance(known, Mapping) else known


def default_entry(choice: str, names: Mapping[str, str]) -> Any:
    """Return the meaning of `<choice>=default`: a name, a section, or None if the choice is not supported.

    Args:
        names: name of the entry for each choice in DEFAULTS_FROM[choice].
    """
    for origin in DEFAULTS_FROM[choice]:
        entry = getattr(index.marks(origin, names[origin]), choice, None)
        if entry is not None:
            return entry
    if "data" in names:
        defaults = index.marks("task", index.task_of(names.get("model"), names["data"])).defaults
        if choice in defaults:
            return defaults[choice]
    return REGISTRIES[choice].fallback


def _parsed(line: str) -> Override:
    """Parse an override; check its syntax and the names of choices, but leave unknown keys to `finalise`."""
    key, equals, _ = line.partition("=")
    if line.startswith("~"):
        raise UserError(f"{line!r}: a setting cannot be removed; set another value instead")
    if not key or not equals:
        words = [f"{word}=..." for word in (*choices(), *knobs_of(RunSettings))]
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


def unknown_name(choice: str, name: object) -> UserError:
    """Return the error for an unknown name of a choice."""
    if choice in REGISTRIES and str(name) in index.load()[choice]["common"]:
        return UserError(f"unknown {choice} {name!r}; it is a setting of every {choice}: type {choice}.{name}=...")
    return UserError(f"unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")


def with_changes(config: Config, overrides: Iterable[str], allowed: Iterable[str]) -> Config:
    """Return a finalised config with other values for some of its settings, checked again.

    Args:
        allowed: the settings and choices (with their settings) that may change.

    Raises:
        UserError: for a setting that is not in `allowed`, or an invalid value.
    """
    raw = deepcopy(config)
    for line in overrides:
        override = _parsed(line)
        key, value = override.key_or_group, override.value()
        if key not in allowed and key.partition(".")[0] not in allowed:
            raise UserError(f"{line!r} cannot be changed here; these can: {', '.join(allowed)}")
        if key in REGISTRIES:
            raw[key] = {"name": value} | _defaults(key, str(value))
        else:
            _set_value(raw, key, value)
    return finalise(raw)


def _conf_state() -> tuple[tuple[str, int], ...]:
    """Return the paths and times of the files under conf/, which identify its state."""
    return tuple(sorted((str(path), path.stat().st_mtime_ns) for path in conf_dir().rglob("*.yaml")))


@lru_cache(maxsize=256)
def _composed(chosen: tuple[str, ...], written: tuple[tuple[str, int], ...]) -> Config:
    """Compose choices with Hydra. Values are set later, because a sweep has few choices and many values."""
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
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _set_value(raw: Config, key: str, value: Any) -> None:
    """Set raw["a"]["b"] = value, for the key "a.b"."""
    *sections, name = key.split(".")
    for depth, section in enumerate(sections, 1):
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise UserError(f"unknown key {key!r}: {'.'.join(sections[:depth])} is a single value")
    raw[name] = value


def _resolved(raw: Config) -> Config:
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
            store.store(group=choice, name=name, node={"name": name} | _defaults(choice, name))
    store.store(group="trainer", name="base", node=_defaults("trainer"))


def knobs(section: str, name: str = "default") -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of a section, or of its entry `name` if it is a registry: key -> schema."""
    if section == "trainer":
        return knobs_of(TrainerSettings)
    return index.load()[section]["common"] if name == "default" else index.knobs(section, name)


def _defaults(section: str, name: str = "default") -> Config:
    known = {} if name == "default" and section != "trainer" else knobs(section, name)
    return {key: schema["default"] for key, schema in known.items()}


def finalise(raw: Mapping[str, Any], where: str = "") -> Config:
    """Return `raw` with every key checked, values converted to their exact types, and each `default` resolved.

    Args:
        where: prefix of error messages, such as the file that `raw` was read from.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    run_knobs = knobs_of(RunSettings)
    for key in raw:
        if key not in run_knobs and key not in SECTIONS:
            raise UserError(f"{where}unknown key {key!r}; {_suggest(key, raw)}")
    frozen: Config = {key: _value(key, schema, raw, where) for key, schema in run_knobs.items()}
    # Sections that defaults depend on come first: data, then model, then its parts.
    for section in sorted(SECTIONS, key=_depth):
        given = raw.get(section)
        if not isinstance(given, Mapping):
            raise UserError(f"{where}{section} must be a section with its settings, not {given!r}")
        if section == "trainer":
            frozen[section] = values(section, "trainer", given, where)
        else:
            frozen[section] = _entry(section, dict(given), frozen, where)
    return frozen


def _depth(section: str) -> int:
    return 1 + max(map(_depth, DEFAULTS_FROM[section])) if section in DEFAULTS_FROM else 0


def _entry(choice: str, given: Config, frozen: Config, where: str) -> Config:
    """Return the section of a choice, with `default` replaced by the entry that it resolves to."""
    name = given.pop("name", None)
    if name not in options(choice):
        raise UserError(f"{where}unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")
    if choice in DEFAULTS_FROM:
        origin = DEFAULTS_FROM[choice][0]
        known = default_entry(choice, {origin: frozen[origin]["name"] for origin in DEFAULTS_FROM[choice]})
        if known is None and name != "default":
            raise UserError(
                f"{where}{origin}={frozen[origin]['name']} does not support {choice}={name}; leave {choice} out,"
                f" or choose another {origin}"
            )
        if known is None or (known == "default" and name == "default"):
            return {"name": "default"} | values(choice, f"{origin}={frozen[origin]['name']}", given, where, {})
        if name == "default":
            # A registration names an entry, or an entry with changed settings.
            of_model = known if isinstance(known, Mapping) else {"name": known}
            name = of_model["name"]
            given = _defaults(choice, name) | {key: of_model[key] for key in of_model if key != "name"} | given
    return {"name": name} | values(choice, f"{choice}={name}", given, where, knobs(choice, name))


def values(
    section: str,
    owner: str,
    given: Mapping[str, Any],
    where: str,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Return the settings of a section, checked that each is present and of the right type.

    Args:
        section: the word before the dot.
        owner: the entry that has these settings, for error messages.
        where: prefix of error messages.
        known: key -> schema; by default those of the section.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    known = knobs(section) if known is None else known
    for key in given:
        if key not in known:
            raise UserError(
                f"{where}unknown key '{section}.{key}': {owner} has no such setting;"
                f" {_suggest_entry(section, key, known)}"
            )
    return {key: _value(f"{section}.{key}", schema, given, where) for key, schema in known.items()}


def _suggest_entry(section: str, key: str, known: Iterable[str]) -> str:
    """Return a hint: another entry of the section that has the key, or the closest key."""
    names = index.available(section) if section in REGISTRIES else []
    having = [name for name in names if key in index.entries(section)[name]["knobs"]]
    return f"{section}={having[0]} has it" if having else did_you_mean(key, known)


def _value(key: str, schema: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Any:
    name = key.rpartition(".")[2]
    if name not in given:
        raise UserError(f"{where}{key} is missing")
    try:
        value = check(schema, given[name])
    except ValueError as error:
        raise UserError(f"{where}{key} {error}") from None
    return list(value) if isinstance(value, tuple) else value


def _suggest(key: str, raw: Mapping[str, Any]) -> str:
    """Return a hint for an unknown key: the closest word; a setting of a section is named with the section."""
    homes: dict[str, str] = {}
    for choice in REGISTRIES:  # settings of all entries; those of the chosen entries, below, take precedence
        for name in index.available(choice):
            homes |= {knob: f"{choice}.{knob} (of {choice}={name})" for knob in index.entries(choice)[name]["knobs"]}
    for section in SECTIONS:
        chosen = raw.get(section, {}).get("name", "default") if isinstance(raw.get(section), Mapping) else "default"
        if section == "trainer" or chosen in index.available(section) or chosen == "default":
            homes |= {knob: f"{section}.{knob}" for knob in knobs(section, chosen)}
    if key in homes:
        return f"did you mean {homes[key]}?"
    first = [*choices(), *knobs_of(RunSettings)]
    return did_you_mean(key, first if get_close_matches(key, first) else [*first, *homes])


def read(path: Path) -> Config:
    """Return the finalised config in a file, checked again because a person may have edited it.

    Raises:
        UserError: if the file does not exist, or is not valid YAML or not a config.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML ({first_line(error)})") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: not a config")
    return finalise(raw, where=f"{path}: ")
