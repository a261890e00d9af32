"""Read an experiment's file: its question, the settings that are compared, and its scales."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from dlzoo import config as configs
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class ComparisonSpec:
    """The section `comparison` of an experiment's file.

    Args:
        vary: setting -> its values.
        arms: lists of settings that vary together.
        seeds: number of runs of each.
        scale: name -> settings of the comparison at that scale, and arms ("model=resnet20 model.width=8") that replace
            `arms`; without a scale the file's settings are used.
        baseline, metric, margin: options of the report.
    """

    vary: dict[str, list[Any]] = field(default_factory=dict)
    arms: list[list[str]] = field(default_factory=list)
    seeds: int = 8
    scale: dict[str, list[str]] = field(default_factory=dict)
    baseline: list[str] = field(default_factory=list)
    metric: str | None = None
    margin: float | None = None


_TYPES = {"vary": Mapping, "arms": list, "seeds": int, "scale": Mapping, "baseline": str, "metric": str}
_TYPES |= {"margin": (int, float)}


def named_comparison(words: Sequence[str]) -> str | None:
    """Return the experiment that the words name, if it is a comparison, else None.

    Raises:
        UserError: if the words name several experiments, or a file cannot be read.
    """
    values = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    names = [name for word in values for name in word.split(",")]
    compare = [name for name in names if _is_known(name) and "comparison" in _content(name)]
    if compare and len(names) > 1:
        raise UserError(f"experiment={','.join(names)}: {compare[0]} is a comparison; give only one experiment")
    return compare[0] if compare else None


def _is_known(name: str) -> bool:
    """Return whether an experiment has a file; composition reports one that has none."""
    return os.path.isfile(configs.file_of("experiment", name))


def _content(name: str) -> Mapping[str, Any]:
    content = read_yaml(configs.file_of("experiment", name))
    return content if isinstance(content, Mapping) else {}


def read(name: str) -> ComparisonSpec:
    """Read and check the section of a file.

    Raises:
        UserError: for an unknown key, or a value of the wrong type.
    """
    section, known = _content(name)["comparison"], [each.name for each in fields(ComparisonSpec)]
    where = f"experiment={name}: comparison"
    if not isinstance(section, Mapping):
        raise UserError(f"{where} must be a section with {', '.join(known)}")
    for key, value in section.items():
        if key not in known:
            raise UserError(f"{where}.{key} is unknown; {did_you_mean(str(key), known)}")
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            raise UserError(f"{where}.{key} cannot be {value!r}")
    section = dict(section)
    section["vary"] = {key: list(value) if isinstance(value, list) else [value]
                     for key, value in section.get("vary", {}).items()}  # fmt: skip
    section["scale"] = {key: settings(f"{where}.scale.{key}", value) for key, value in section.get("scale", {}).items()}
    section["arms"] = [settings(f"{where}.arms", arm) for arm in section.get("arms", [])]
    section["baseline"] = str(section.get("baseline", "")).split()
    return ComparisonSpec(**section)


def read_head(name: str) -> dict[str, str]:
    """Return {"question": ..., "expected": ...} from the lines "Question: ..." and so on of a file's first comment."""
    texts, last = dict[str, str](), None
    for line in configs.head_comment("experiment", name):
        word, colon, text = line.partition(":")
        if colon and word.istitle() and " " not in word:
            last = word.lower()
            texts[last] = text.strip()
        elif last is not None:
            texts[last] += f" {line.strip()}"
    return texts


def scale_settings(name: str, written: ComparisonSpec, scale: str | None) -> list[str]:
    """Return the settings of a scale; an empty list for None.

    Raises:
        UserError: if the experiment has no such scale.
    """
    if scale is None:
        return []
    if scale not in written.scale:
        raise UserError(f"experiment={name} has no scale={scale}; {did_you_mean(scale, written.scale)}")
    return written.scale[scale]


def settings(where: str, value: Any) -> list[str]:
    """Return a list of settings from a list, or from one line.

    Raises:
        UserError: for a word that is not a setting.
    """
    if not isinstance(value, (str, list)):
        raise UserError(f"{where} cannot be {value!r}; write settings (key=value)")
    try:
        words = shlex.split(value) if isinstance(value, str) else [str(word) for word in value]
    except ValueError as error:
        raise UserError(f"{where}: {value!r} cannot be read ({str(error).lower()})") from None
    for word in words:
        if "=" not in word:
            raise UserError(f"{where}: {word!r} is not a setting (key=value)")
    return words
