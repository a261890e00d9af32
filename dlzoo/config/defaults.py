"""The choices of a config, their names, and what `default` means for each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from dlzoo.config.settings import TrainerSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.registries import PARTS, REGISTRIES
from dlzoo.core.schema import settings_of

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


def settings_for(section: str, name: str = "default") -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of a section, or of its entry `name` if it is a registry: key -> schema."""
    if section == "trainer":
        return settings_of(TrainerSettings)
    return index.load()[section]["common"] if name == "default" else index.settings(section, name)


def default_settings(section: str, name: str = "default") -> Config:
    """Return the default settings of a section, or of its entry `name` if it is a registry."""
    known = {} if name == "default" and section != "trainer" else settings_for(section, name)
    return {key: schema["default"] for key, schema in known.items()}


def unknown_name(choice: str, name: object) -> UserError:
    """Return the error for an unknown name of a choice."""
    if choice in REGISTRIES and str(name) in index.load()[choice]["common"]:
        return UserError(f"unknown {choice} {name!r}; it is a setting of every {choice}: type {choice}.{name}=...")
    return UserError(f"unknown {choice} {name!r}; {did_you_mean(str(name), options(choice))}")
