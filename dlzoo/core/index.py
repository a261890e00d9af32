"""The index: the contents of the registries, readable without importing torch.

It is derived from the signatures and cached like bytecode: one JSON file in the user's cache folder, keyed by the
sources of the package and of the installed plug-ins, and rebuilt automatically when they change.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from dlzoo.core import own_parts, plug_ins
from dlzoo.core.entries import Metric, TaskMarks
from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.files import replacing
from dlzoo.core.parts_file import PartsFile
from dlzoo.core.registries import LISTED, TASKS
from dlzoo.core.registry import Registry, load_parts_file
from dlzoo.core.schema import settings_of
from dlzoo.core.stamp import PACKAGE, stamp_of_sources

_REGISTRIES = LISTED | {"task": TASKS}

Index = dict[str, dict[str, Any]]


def available(choice: str) -> list[str]:
    """Return the sorted names of a registry: available("model").

    Raises:
        UserError: if there is no such registry.
    """
    return sorted(name for name, entry in entries(choice).items() if not entry["meta"].get("hidden"))


def entries(choice: str) -> dict[str, dict[str, Any]]:
    """Return name -> {"doc", "source", "settings", "meta"} of a registry; "meta" holds the marks that are not defaults.

    Hidden entries are included.

    Raises:
        UserError: if there is no such registry.
    """
    if choice not in LISTED:
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(str(choice), LISTED)}")
    return load()[choice]["entries"]


def settings(choice: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of an entry and those common to its choice: name -> schema."""
    return load()[choice]["common"] | entries(choice)[name]["settings"]


@own_parts.cached
def marks(choice: str, name: str) -> Any:
    """Return the metadata of an entry, as its registry's dataclass (core/entries.py)."""
    if choice == "task":
        return TaskMarks.from_json(load()["task"]["entries"][name]["meta"])
    return LISTED[choice].marks(**entries(choice)[name]["meta"])


def _task_names() -> list[str]:
    return list(load()["task"]["entries"])


def choose_task(data: str, default: str, tasks: Sequence[str] = ()) -> str:
    """Return the task for a data set: its default, or the first other one that both it and the model support.

    Args:
        data: name of the data set.
        default: the task of its labels.
        tasks: tasks that the model supports; () for any.
    """
    if not tasks or default in tasks:
        return default
    adapting = [task for task in _task_names() if data in marks("task", task).adapts]
    return next((task for task in (*marks("data", data).tasks, *adapting) if task in tasks), default)


def task_of(model: str | None, data: str) -> str:
    """Return the task of a model on a data set, from their registrations; without a model, the data set's default."""
    default = marks("data", data).tasks[0]
    return default if model is None else choose_task(data, default, marks("model", model).tasks)


@own_parts.cached
def metrics() -> dict[str, Metric]:
    """Return name -> metric of all tasks, in the order of their registration."""
    return {metric.name: metric for task in _task_names() for metric in marks("task", task).metrics}


@own_parts.cached
def class_metrics() -> dict[str, Metric]:
    """Return name -> metric of each class, of the tasks that have one."""
    found = [marks("task", task).class_metric for task in _task_names()]
    return {metric.name: metric for metric in found if metric is not None}


def load() -> Index:
    """Return choice -> {"common": schemas, "about_common": text, "entries": ...} of all entries.

    Those of packages come from the cache if it is current. Beside them there are those of the parts files in use and
    of this process.

    Raises:
        UserError: if a parts file fails, registers nothing, or registers an entry that cannot be described.
    """
    return _with_own()


@own_parts.cached
def _with_own() -> Index:
    packages, files = of_packages(), own_parts.in_use()
    if own_parts.state() == ((), 0):
        return packages
    index = {choice: content | {"entries": dict(content["entries"])} for choice, content in packages.items()}
    for choice, registry in _REGISTRIES.items():
        index[choice]["entries"] |= {name: _describe_own(entry) for name, entry in registry.own("").items()}
    for number, file in enumerate(files):
        for choice, entries in _described(file).items():
            others = {name: other for other in files[:number] for name in _described(other).get(choice, {})}
            if both := sorted(others.keys() & entries):
                raise UserError(f"{choice}={both[0]} is registered by {others[both[0]].path} and {file.path};"
                                " rename one of them")  # fmt: skip
            index[choice]["entries"] |= entries
    return index


@cache
def _described(file: PartsFile) -> dict[str, dict[str, Any]]:
    """Return choice -> name -> description of the entries of a parts file, from the cache if it has them.

    Raises:
        UserError: if the file fails, registers nothing, or registers an entry that cannot be described.
    """
    path = user_cache_path("dlzoo") / f"parts-{file.sha256[:16]}-{sys.flags.optimize}.json"
    key = stamp_of_sources(_REGISTRIES)
    if (cached := _stored(path, key)) is not None:
        return cached["entries"]
    load_parts_file(file)
    try:
        entries = {
            choice: {name: _describe_own(entry) for name, entry in own.items()}
            for choice, registry in _REGISTRIES.items()
            if (own := registry.own(file.sha256))
        }
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error
    if not entries:
        raise UserError(f"{file.path} registers nothing; register an entry, as in @dlzoo.NORMS.register('mine')")
    _store(path, {"key": key, "entries": entries})
    return entries


def _describe_own(entry: Entry) -> dict[str, Any]:
    try:
        return _describe_entry(entry)
    except Exception as error:  # a parameter without annotation, or of a type that no setting has
        raise UserError(f"{entry.choice}={entry.name}: {first_line(error)}") from error


@cache
def of_packages() -> Index:
    """Return the part of the index about dlzoo and its plug-ins, from the cache if it is current.

    It is not cached if a plug-in could not be imported: the next command tries again.
    """
    key = stamp_of_sources(_REGISTRIES)
    # Python drops docstrings at level 2: such an index is cached apart.
    place = f"{PACKAGE} {sys.flags.optimize >= 2}"
    path = user_cache_path("dlzoo") / f"index-{hashlib.sha1(place.encode()).hexdigest()[:12]}.json"
    if (cached := _stored(path, key)) is not None:
        _print_left_out(cached["left_out"])
        return cached["index"]
    if sys.stderr.isatty():
        print("dlzoo: building the index (once after a change) ...", file=sys.stderr)
    left_out: list[str] = []
    index = {choice: _describe(registry, left_out) for choice, registry in _REGISTRIES.items()}
    _print_left_out(left_out)
    if all(plug_ins.load(choice) for choice in index):
        _store(path, {"key": key, "left_out": left_out, "index": index})
    return index


def _stored(path: Path, key: str) -> dict[str, Any] | None:
    """Return the content of a file of the cache; None if it has another key."""
    try:
        content = json.loads(path.read_text())
        return content if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _print_left_out(lines: Sequence[str]) -> None:
    for line in lines if os.environ.get("RANK", "0") == "0" else ():
        print(f"dlzoo: {line}", file=sys.stderr)


def _describe(registry: Registry, left_out: list[str]) -> dict[str, Any]:
    """Return the part of the index about a registry; add a line to `left_out` for an entry that cannot be described."""
    common = registry.common_settings()
    entries = {}
    for name, entry in registry.of_packages().items():
        try:
            entries[name] = _describe_entry(entry)
        except Exception as error:  # of a plug-in: a parameter of a type that no setting has
            left_out.append(f"{registry.choice}={name} of {entry.module} is left out: {first_line(error)}")
    return {
        "common": settings_of(common) if common else {},
        "about_common": (inspect.getdoc(common) or "") if common else "",
        "entries": entries,
    }


def _describe_entry(entry: Entry) -> dict[str, Any]:
    described = {
        "doc": entry.doc,
        "source": entry.source,
        "settings": entry.settings,
        "meta": entry.marks.as_json(),
    }
    json.dumps(described)  # a default that no config can hold is an error here
    return described


def _store(path: Path, content: dict[str, Any]) -> None:
    """Write to a temporary file and rename it. A cache that cannot be written only makes the next start slow."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_text(json.dumps(content))
    except OSError:
        pass
