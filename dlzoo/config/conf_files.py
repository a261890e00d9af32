"""What the files of conf/ set for the entries of registries, read without Hydra, and the files of an experiment."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from dlzoo.config.defaults import Config, choices, conf_dir, file_of, options, unknown_name
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.files import read_text
from dlzoo.core.registries import REGISTRIES

#: The first line of an experiment, which lets it set any key.
_HEADER = re.compile(r"\s*#\s*@package\s+_global_\s*(\n|$)")


@lru_cache(maxsize=256)
def sections_in_files(files: tuple[str, ...], state: tuple[tuple[str, int], ...]) -> dict[str, Config] | None:
    """Return what config.yaml and the chosen `files` set in the sections of entries; None if Hydra has to find out.

    Args:
        files: chosen files, such as experiment=bn_vs_gn.
        state: unused; a changed file makes a new cache key.
    """
    sections = _sections_of(_load_yaml(conf_dir() / "config.yaml"))
    for choice, _, name in (word.partition("=") for word in files):
        path = file_of(choice, name)
        content = _load_yaml(path)
        if sections is None or content is None:
            return None
        if choice == "experiment":
            defaults = content.get("defaults", [])
            is_plain = isinstance(defaults, list) and all("override /" in str(line) for line in defaults)
            added = _sections_of(content) if is_plain else None  # others include other experiments
        else:
            added = None if "@package" in read_text(path) else {}
        if added is None:
            return None
        sections |= {key: sections.get(key, {}) | section for key, section in added.items()}
    return sections


def experiment_files(name: str) -> list[Path]:
    """Return the file of an experiment and those of the experiments that it includes.

    Raises:
        UserError: if one of them cannot be read, lacks its first line, or includes one that includes it.
    """
    files: dict[Path, None] = {}
    _add_files(name, (), files)
    return list(files)


def _add_files(name: str, within: tuple[str, ...], files: dict[Path, None]) -> None:
    path = file_of("experiment", name)
    if name in within:
        raise UserError(f"{path}: experiments include each other in a circle: {' -> '.join([*within, name])}")
    if not _HEADER.match(read_text(path)):
        raise UserError(f'{path}: its first line must be "# @package _global_"')
    files[path] = None
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: must contain settings, key: value, not {type(content).__name__}")
    defaults = content.get("defaults")
    for item in defaults if isinstance(defaults, list) else ():
        entry = item if isinstance(item, dict) else {"/experiment": item}
        _check_names(path, entry)
        for other in (value for key, value in entry.items() if key == "/experiment"):
            included = str(other).removeprefix("/experiment/")
            if included != "_self_" and file_of("experiment", included).is_file():  # Hydra reports what is missing
                _add_files(included, (*within, name), files)


def _check_names(path: Path, entry: dict[Any, Any]) -> None:
    """Check the choice that an entry of the defaults of an experiment makes.

    Raises:
        UserError: if there is no such choice, or no such name.
    """
    for key, name in entry.items():
        kind, _, choice = str(key).partition(" /")
        if kind != "override":
            continue
        if choice not in choices():
            raise UserError(f"{path}: unknown choice {choice!r} in its defaults; {did_you_mean(choice, choices())}")
        if isinstance(name, str) and name not in options(choice):
            raise UserError(f"{path}: {unknown_name(choice, name)}")


def _load_yaml(path: Path) -> dict[Any, Any] | None:
    """Return the content of a file; None if it cannot be read: Hydra reports what is wrong."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, TypeError, RecursionError, OmegaConfBaseException, YAMLError):
        return None
    return content if isinstance(content, dict) else None


def _sections_of(content: dict[Any, Any] | None) -> dict[str, Config] | None:
    """Return the sections of entries in the content of a file; None if one has nested sections."""
    if content is None:
        return None
    sections = {str(key): content[key] for key in content.keys() & REGISTRIES.keys()}
    for section in sections.values():
        if not isinstance(section, dict) or any(isinstance(value, dict) for value in section.values()):
            return None
    return sections
