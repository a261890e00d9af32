"""From what a user typed to a config that is complete, checked and plain: a dict of names and numbers."""

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

#: What `<choice>=default` is filled in from: the registrations of other choices' entries, the first that says.
DEFAULTS_FROM = {
    **dict.fromkeys(("model", "augment"), ("data",)),
    **dict.fromkeys((*PARTS, "init", "backbone", "box_loss", "nms"), ("model",)),
    "loss": ("model", "data"),
}

#: The parts of a config that have settings of their own; each but the last is a registry.
SECTIONS = [*REGISTRIES, "trainer"]

#: What is said of many runs and is no part of one: a choice with files under conf/, and a section.
SWEEP_ONLY = ("executor", "sweep")

#: What `dlzoo compare` takes beside the settings of its runs.
COMPARE_ONLY = ("base", "seeds", "scale", "baseline", "metric", "margin")

_PACKAGE = Path(__file__).parent.parent
_composing = Lock()


def conf_dir() -> Path:
    """The hand-written part: conf/ of a checkout, or its copy inside an installed package."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"


def options(choice: str) -> list[str]:
    """Every name that may stand after `choice=`."""
    if choice in REGISTRIES:
        return sorted(index.available(choice) + (["default"] if choice in DEFAULTS_FROM else []))
    return sorted(path.stem for path in (conf_dir() / choice).glob("*.yaml"))


def usual_choices() -> dict[str, str]:
    """choice -> the name that config.yaml takes where the user names none."""
    defaults = yaml.safe_load((conf_dir() / "config.yaml").read_text())["defaults"]
    return {choice: str(name) for item in defaults if isinstance(item, dict) for choice, name in item.items()}


def head(choice: str, name: str) -> list[str]:
    """The comment that a file under conf/ begins with, without Hydra's own line."""
    lines = (conf_dir() / choice / f"{name}.yaml").read_text().splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return [line.lstrip("# ") for line in comment if not line.startswith("# @package")]


@cache
def choices() -> list[str]:
    """Every word that may stand before `=` of a run and takes a name."""
    folders = sorted(path.name for path in conf_dir().iterdir() if path.is_dir())
    return [*REGISTRIES, *(name for name in folders if name not in SWEEP_ONLY)]


def compose(overrides: Iterable[str], *, of_several: bool = False) -> Config:
    """The config that `overrides` ask for.

    Args:
        of_several: whether it is one run of a sweep: then an experiment may be a comparison, of which this is a part.

    Raises:
        UserError: for an unknown choice, name or key, or a value of the wrong type.
    """
    if isinstance(overrides, str):
        raise UserError(f"settings are a list, such as [{overrides!r}]")
    chosen, values = [], []
    for line in overrides:
        override = _checked(line)
        if override.key_or_group not in choices():
            values.append(override)
        elif override.value() is not None:
            chosen.append(f"{override.key_or_group}={override.value()}")
    raw = deepcopy(_composed(tuple(chosen), _written()))
    if raw.pop("comparison", None) and not of_several:
        experiment = next(word for word in chosen if word.startswith("experiment="))
        raise UserError(f"{experiment} compares several runs: dlzoo compare {experiment}")
    _keep_what_registrations_change(raw)
    for override in values:
        _put(raw, override.key_or_group, override.value())
    return freeze(_resolved(raw))


def _keep_what_registrations_change(raw: Config) -> None:
    """A part that is named, and is the model's default, is as the model has it: norm=bn of GoogLeNet has its eps."""
    for choice in DEFAULTS_FROM:
        known = stands_for(choice, {origin: settled(origin, raw) for origin in DEFAULTS_FROM[choice]})
        name = raw[choice].get("name")
        if (
            isinstance(known, Mapping)
            and name == known["name"]
            and raw[choice] == {"name": name} | _defaults(choice, name)
        ):
            raw[choice] = {"name": "default"}


def settled(choice: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The name of a choice, or what its default stands for."""
    name = sections[choice]["name"]
    if name != "default" or choice not in DEFAULTS_FROM:
        return name
    known = stands_for(choice, {origin: settled(origin, sections) for origin in DEFAULTS_FROM[choice]})
    return known["name"] if isinstance(known, Mapping) else known


def stands_for(choice: str, names: Mapping[str, str]) -> Any:
    """What `<choice>=default` means beside the entries `names` of other choices: a name, a section, or no place: None.

    Args:
        names: origin -> the name of its entry, of each of DEFAULTS_FROM[choice].
    """
    for origin in DEFAULTS_FROM[choice]:
        said = getattr(index.marks(origin, names[origin]), choice, None)
        if said is not None:
            return said
    if "data" in names:
        defaults = index.marks("task", index.task_of(names.get("model"), names["data"])).defaults
        if choice in defaults:
            return defaults[choice]
    return REGISTRIES[choice].fallback


def _checked(line: str) -> Override:
    """One override, after its key (of a choice: its name too) was looked at; unknown keys are left to `freeze`."""
    key, equals, _ = line.partition("=")
    if line.startswith("~"):
        raise UserError(f"{line!r}: a setting cannot be taken away; choose another value for it")
    if not key or not equals:
        words = [f"{word}=..." for word in (*choices(), *knobs_of(RunSettings))]
        hint = "say it as key=value" if f"{line}=..." in words else did_you_mean(line, words)
        raise UserError(f"{line!r} is no setting (key=value); {hint}")
    override = parse(line)
    if override.is_sweep_override():
        raise UserError(f"{line!r} asks for several runs: say -m before it; or quote a comma that is meant: '\"a,b\"'")
    key, value = override.key_or_group, override.value()
    section, _, rest = key.partition(".")
    if section == "hydra":
        raise UserError(f"unknown key {key!r}: Hydra composes here, and does nothing else")
    if section in choices() and rest == "name":
        raise UserError(f"{line!r}: say {section}={value}")
    if section in SWEEP_ONLY:
        raise UserError(f"{line!r} says how several runs are carried out: say -m before it")
    if key not in choices() or (value is None and key == "experiment"):
        return override
    if not isinstance(value, str) or value not in options(key):
        raise unknown(key, value)
    return override


def unknown(choice: str, name: object) -> UserError:
    """What to say of a name that a choice does not have."""
    if choice in REGISTRIES and str(name) in index.load()[choice]["common"]:
        return UserError(
            f"unknown {choice} {name!r}; it is a setting that goes with every {choice}: {choice}.{name}=..."
        )
    return UserError(f"unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")


def changed(config: Config, overrides: Iterable[str], allowed: Iterable[str]) -> Config:
    """A frozen config with other values for some of its settings, checked again.

    Args:
        allowed: what may change: settings, and choices with all that is theirs.

    Raises:
        UserError: for a setting that is not one of `allowed`, or a value that it cannot have.
    """
    raw = deepcopy(config)
    for line in overrides:
        override = _checked(line)
        key, value = override.key_or_group, override.value()
        if key not in allowed and key.partition(".")[0] not in allowed:
            raise UserError(f"{line!r} cannot be changed here; what can: {', '.join(allowed)}")
        if key in REGISTRIES:
            raw[key] = {"name": value} | _defaults(key, str(value))
        else:
            _put(raw, key, value)
    return freeze(raw)


def _written() -> tuple[tuple[str, int], ...]:
    """What tells one state of conf/ from another."""
    return tuple(sorted((str(path), path.stat().st_mtime_ns) for path in conf_dir().rglob("*.yaml")))


@lru_cache(maxsize=256)
def _composed(chosen: tuple[str, ...], written: tuple[tuple[str, int], ...]) -> Config:
    """What Hydra makes of some choices; values are put in later: a sweep has few choices and many values."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _composing:  # Hydra's state is the process's
            _fill_store()
            with initialize_config_dir(str(conf_dir().absolute()), version_base="1.3"):
                composed = hydra_compose("config", overrides=list(chosen))
        raw = OmegaConf.to_container(composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _put(raw: Config, key: str, value: Any) -> None:
    """raw["a"]["b"] = value, for the key "a.b"."""
    *sections, name = key.split(".")
    for depth, section in enumerate(sections, 1):
        raw = raw.setdefault(section, {})
        if not isinstance(raw, dict):
            raise UserError(f"unknown key {key!r}: {'.'.join(sections[:depth])} is a single value")
    raw[name] = value


def _resolved(raw: Config) -> Config:
    """`raw` with what its interpolations (${seed}) refer to."""
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
    """Give Hydra the entries of the registries and the defaults of the trainer."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for choice in REGISTRIES:
        for name in options(choice):
            store.store(group=choice, name=name, node={"name": name} | _defaults(choice, name))
    store.store(group="trainer", name="base", node=_defaults("trainer"))


def knobs(section: str, name: str = "default") -> Mapping[str, Mapping[str, Any]]:
    """The settings of a section of the config, of the entry `name` where it has entries: key -> schema."""
    if section == "trainer":
        return knobs_of(TrainerSettings)
    return index.load()[section]["common"] if name == "default" else index.knobs(section, name)


def _defaults(section: str, name: str = "default") -> Config:
    known = {} if name == "default" and section != "trainer" else knobs(section, name)
    return {key: schema["default"] for key, schema in known.items()}


def freeze(raw: Mapping[str, Any], where: str = "") -> Config:
    """`raw` checked key by key, its types made exact, and each `default` filled in.

    Args:
        where: what to put before an error, such as the file that `raw` was read from.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    run_knobs = knobs_of(RunSettings)
    for key in raw:
        if key not in run_knobs and key not in SECTIONS:
            raise UserError(f"{where}unknown key {key!r}; {_suggest(key, raw)}")
    frozen: Config = {key: _value(key, schema, raw, where) for key, schema in run_knobs.items()}
    # What a default is filled in from is settled first: data, then model, then its parts.
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
    """The section of a choice, its name settled first: a default becomes what it stands for."""
    name = given.pop("name", None)
    if name not in options(choice):
        raise UserError(f"{where}unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")
    if choice in DEFAULTS_FROM:
        origin = DEFAULTS_FROM[choice][0]
        known = stands_for(choice, {origin: frozen[origin]["name"] for origin in DEFAULTS_FROM[choice]})
        if known is None and name != "default":
            raise UserError(
                f"{where}{origin}={frozen[origin]['name']} does not support {choice}={name}; leave {choice} out,"
                f" or choose another {origin}"
            )
        if known is None or (known == "default" and name == "default"):
            return {"name": "default"} | values(choice, f"{origin}={frozen[origin]['name']}", given, where, {})
        if name == "default":
            # A registration names an entry, or an entry and what it changes of it.
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
    """The settings of a section, each of them given and of the right type.

    Args:
        section: what stands before the dot.
        owner: who has these settings, for errors.
        where: what to put before an error.
        known: key -> schema; without it those of the section.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    known = knobs(section) if known is None else known
    for key in given:
        if key not in known:
            raise UserError(
                f"{where}unknown key '{section}.{key}': {owner} has none; {_where_it_is(section, key, known)}"
            )
    return {key: _value(f"{section}.{key}", schema, given, where) for key, schema in known.items()}


def _where_it_is(section: str, key: str, known: Iterable[str]) -> str:
    """Another entry of the section that has the key, or the closest key."""
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
    """The closest word for an unknown key; a knob that stands in a section is named with it."""
    homes: dict[str, str] = {}
    for choice in REGISTRIES:  # every knob of the zoo, before which go those of the entries that were chosen
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
