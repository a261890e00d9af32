"""What the files of conf/ set for the entries of registries, read without Hydra."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from dlzoo.config.defaults import Config
from dlzoo.core.registries import REGISTRIES


@lru_cache(maxsize=256)
def sections_in_files(
    folder: Path, files: tuple[str, ...], conf_state: tuple[tuple[str, int], ...]
) -> dict[str, Config] | None:
    """Return what config.yaml and the chosen `files` set in the sections of entries; None if Hydra has to find out.

    Args:
        folder: conf/.
        files: chosen files, such as experiment=bn_vs_gn.
        conf_state: unused; a changed file makes a new cache key.
    """
    sections = _sections_of(_load_yaml(folder / "config.yaml"))
    for choice, _, name in (word.partition("=") for word in files):
        path = folder / choice / f"{name}.yaml"
        content = _load_yaml(path)
        if sections is None or content is None:
            return None
        if choice == "experiment":
            defaults = content.get("defaults", [])
            is_plain = isinstance(defaults, list) and all("override /" in str(line) for line in defaults)
            added = _sections_of(content) if is_plain else None  # others include other experiments
        else:
            added = None if "@package" in path.read_text() else {}
        if added is None:
            return None
        sections |= {key: sections.get(key, {}) | section for key, section in added.items()}
    return sections


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
