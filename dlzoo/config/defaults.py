"""The choices of a config, their names, and what `default` means for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from dlzoo.config.settings import TrainerSettings
from dlzoo.config.yaml_file import read_text, read_yaml
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.nearest import HIDDEN, list_some, nearest, simplify
from dlzoo.core.other_words import NAMES, NO_NAMES, NUMBERS
from dlzoo.core.registries import HOOKS, LISTED, PARTS, REGISTRIES
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
#: Choices whose names are files, under conf/ and the folders of --config-dir.
FILE_CHOICES = ("experiment", "trainer", "executor")

#: Sections about a set of runs, which are not part of a run's config: a choice with files under conf/, and a section.
SWEEP_ONLY = ("executor", "sweep")

#: Words of `dlzoo compare` that are not settings of its runs.
COMPARE_ONLY = ("base", "seeds", "scale", "baseline", "metric", "margin")

_PACKAGE = Path(__file__).parent.parent

#: Folders that are searched beside conf/.
_added: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())


def conf_dir() -> Path:
    """Return the folder of the hand-written files: conf/ of a checkout, or its copy inside an installed package."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"


def conf_dirs() -> tuple[Path, ...]:
    """Return conf/ and the folders that are searched like it (`searching`)."""
    return conf_dir(), *_added.get()


@contextmanager
def searching(folder: str | None) -> Iterator[None]:
    """Search a folder like conf/ inside the context: its subfolders experiment/, trainer/ and executor/.

    Raises:
        UserError: if it is no folder, has none of them, or a file of the same name as one of conf/.
    """
    added = [] if folder is None else [Path(os.path.expanduser(folder)).absolute()]
    for path in added:
        own = [name for name in FILE_CHOICES if os.path.isdir(path / name)]
        if not os.path.isdir(path):
            what = "it is not a folder" if os.path.exists(path) else "there is no such folder"
            raise UserError(f"--config-dir {folder}: {what}")
        if not own:
            raise UserError(f"--config-dir {path}: it has no folder experiment, trainer or executor")
        both = [each for name in own for each in (path / name).glob("*.yaml") if each.stem in options(name)]
        if both:
            raise UserError(f"{min(both)}: {conf_dir()} has a file of this name; rename yours")
    token = _added.set((*_added.get(), *added))
    try:
        yield
    finally:
        _added.reset(token)


def file_of(choice: str, name: str) -> Path:
    """Return the file of a choice: conf/<choice>/<name>.yaml, or for experiment=./mine.yaml the file itself."""
    if is_path(choice, name):
        return Path(os.path.expanduser(name)).absolute()
    paths = [folder / choice / f"{name}.yaml" for folder in conf_dirs()]
    return next(filter(os.path.isfile, paths), paths[0])


def is_path(choice: str, name: str) -> bool:
    """Return whether the name of an experiment is the path of a file."""
    return choice == "experiment" and ("/" in name or name.endswith((".yaml", ".yml")))


def options(choice: str) -> list[str]:
    """Return every valid name of a choice, without hidden entries."""
    if choice in LISTED:
        return sorted(index.available(choice) + (["default"] if choice in DEFAULTS_FROM else []))
    return sorted({path.stem for folder in conf_dirs() for path in (folder / choice).glob("*.yaml") if path.is_file()})


def names_of(choice: str) -> list[str]:
    """Return the names of a choice that are listed and suggested: every valid name but `default`."""
    return [name for name in options(choice) if name != HIDDEN]


def is_option(choice: str, name: object) -> bool:
    """Return whether a choice has an entry or a file of this name; hidden entries count."""
    return name in options(choice) or (choice in REGISTRIES and name in index.entries(choice))


def default_choices() -> dict[str, str]:
    """Return choice -> its default name in config.yaml."""
    defaults = read_yaml(conf_dir() / "config.yaml")["defaults"]
    return {choice: str(name) for item in defaults if isinstance(item, dict) for choice, name in item.items()}


def head_comment(choice: str, name: str) -> list[str]:
    """Return the lines of the comment at the top of a file under conf/, without Hydra's `@package` line."""
    lines = read_text(file_of(choice, name)).splitlines()
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
    """Return the error for an unknown name of a choice, with the settings to type for the nearest ones."""
    said, names = str(name), names_of(choice)
    wrong = f"unknown {choice} {name!r}; "
    if choice in REGISTRIES and said in index.load()[choice]["common"]:
        return UserError(f"{wrong}it is a setting of every {choice}: type {choice}.{said}=...")
    if choice in NUMBERS and _is_number(said):
        return UserError(f"{wrong}did you mean {NUMBERS[choice].format(name)}?")
    other = NAMES.get(choice, {}).get(simplify(said))
    exact = [each for each in names if simplify(each) == simplify(said)]
    near = exact or ([other] if other in names else nearest(said, names))
    absent = NO_NAMES.get(choice, {}).get(simplify(said))
    if absent and not exact:
        return UserError(f"{wrong}{absent}; `dlzoo list {choice}` lists all names")
    if near:
        form = "hooks=[{}]" if choice == HOOKS.choice else f"{choice}={{}}"
        return UserError(f"{wrong}did you mean {' or '.join(map(form.format, near))}?")
    return UserError(f"{wrong}{list_some(said, names, f'dlzoo list {choice}')}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
