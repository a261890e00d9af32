"""An experiment's file: the question, what is compared to answer it, and at which scales."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from dlzoo import config as configs
from dlzoo.core.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Written:
    """The section `comparison` of an experiment's file.

    Args:
        vary: setting -> its values.
        arms: lists of settings, where several vary together.
        seeds: runs of each.
        scale: name -> settings of the comparison at that size, and arms ("model=resnet20 model.width=8") in place of
            `arms`; without a name it is as the file has it.
        baseline, metric, margin: how the report is to look at it.
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


def named(words: Sequence[str]) -> str | None:
    """The experiment that a line names, if it is one that compares.

    Raises:
        UserError: if it is one of several.
    """
    said = [word.partition("=")[2] for word in words if word.startswith("experiment=")]
    names = [name for word in said for name in word.split(",")]
    compare = [name for name in names if name in configs.options("experiment") and "comparison" in _content(name)]
    if compare and len(names) > 1:
        raise UserError(f"experiment={','.join(names)}: {compare[0]} is a comparison of its own; say one at a time")
    return compare[0] if compare else None


def _content(name: str) -> Mapping[str, Any]:
    path = configs.conf_dir() / "experiment" / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    return content if isinstance(content, Mapping) else {}


def read(name: str) -> Written:
    """The section of a file, checked.

    Raises:
        UserError: for a key that it cannot have, or a value of the wrong type.
    """
    given, known = _content(name)["comparison"], [each.name for each in fields(Written)]
    where = f"experiment={name}: comparison"
    if not isinstance(given, Mapping):
        raise UserError(f"{where} must be a section with {', '.join(known)}")
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{where}.{key} is unknown; {did_you_mean(str(key), known)}")
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            raise UserError(f"{where}.{key} cannot be {value!r}")
    given = dict(given)
    given["vary"] = {key: list(value) if isinstance(value, list) else [value]
                     for key, value in given.get("vary", {}).items()}  # fmt: skip
    given["scale"] = {key: settings(f"{where}.scale.{key}", value) for key, value in given.get("scale", {}).items()}
    given["arms"] = [settings(f"{where}.arms", arm) for arm in given.get("arms", [])]
    given["baseline"] = str(given.get("baseline", "")).split()
    return Written(**given)


def head(name: str) -> dict[str, str]:
    """{"question": ..., "expected": ...}: the lines "Question: ..." of a file's head; a line without a word goes on."""
    found, last = dict[str, str](), None
    for line in configs.head_comment("experiment", name):
        word, colon, text = line.partition(":")
        if colon and word.istitle() and " " not in word:
            last = word.lower()
            found[last] = text.strip()
        elif last is not None:
            found[last] += f" {line.strip()}"
    return found


def at_scale(name: str, written: Written, scale: str | None) -> list[str]:
    """The settings of a scale; none where nobody asked for one.

    Raises:
        UserError: if the experiment has no such scale.
    """
    if scale is None:
        return []
    if scale not in written.scale:
        raise UserError(f"experiment={name} has no scale={scale}; {did_you_mean(scale, written.scale)}")
    return written.scale[scale]


def settings(where: str, value: Any) -> list[str]:
    """A list of settings, or one line of them.

    Raises:
        UserError: for a word that is none.
    """
    if not isinstance(value, (str, list)):
        raise UserError(f"{where} cannot be {value!r}; say settings (key=value)")
    try:
        words = shlex.split(value) if isinstance(value, str) else [str(word) for word in value]
    except ValueError as error:
        raise UserError(f"{where}: {value!r} cannot be read ({str(error).lower()})") from None
    for word in words:
        if "=" not in word:
            raise UserError(f"{where}: {word!r} is no setting (key=value)")
    return words
