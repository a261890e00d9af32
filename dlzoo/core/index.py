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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from dlzoo.core.entries import Marks, Metric, TaskMarks
from dlzoo.core.errors import UserError, did_you_mean, first_line
from dlzoo.core.files import replacing
from dlzoo.core.registries import REGISTRIES, TASKS
from dlzoo.core.registry import Entry, Registry, load_plugins
from dlzoo.core.schema import settings_of

_PACKAGE = Path(__file__).parent.parent

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
    if choice not in REGISTRIES:
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(str(choice), REGISTRIES)}")
    return load()[choice]["entries"]


def settings(choice: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the settings of an entry and those common to its choice: name -> schema."""
    return load()[choice]["common"] | entries(choice)[name]["settings"]


@cache
def marks(choice: str, name: str) -> Any:
    """Return the metadata of an entry, as its registry's dataclass (core/entries.py)."""
    if choice == "task":
        meta = load()["task"]["entries"][name]["meta"]
        return TaskMarks(**meta | {"metrics": tuple(Metric(**each) for each in meta.get("metrics", ()))})
    return REGISTRIES[choice].marks(**entries(choice)[name]["meta"])


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


@cache
def metrics() -> dict[str, Metric]:
    """Return name -> metric of all tasks, in the order of their registration."""
    return {metric.name: metric for task in _task_names() for metric in marks("task", task).metrics}


@cache
def load() -> Index:
    """Return choice -> {"common": schemas, "about_common": text, "entries": ...}, from the cache if it is current.

    An index is not cached if a plug-in could not be imported: the next command tries again.
    """
    key = _key()
    # Python drops docstrings at level 2: such an index is cached apart.
    place = f"{_PACKAGE} {sys.flags.optimize >= 2}"
    path = user_cache_path("dlzoo") / f"index-{hashlib.sha1(place.encode()).hexdigest()[:12]}.json"
    try:
        cached = json.loads(path.read_text())
        if cached["key"] == key:
            _print_left_out(cached["left_out"])
            return cached["index"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if sys.stderr.isatty():
        print("dlzoo: building the index (once after a change) ...", file=sys.stderr)
    left_out: list[str] = []
    index = {choice: _describe(registry, left_out) for choice, registry in (REGISTRIES | {"task": TASKS}).items()}
    _print_left_out(left_out)
    if all(load_plugins(choice) for choice in index):
        _store(path, {"key": key, "left_out": left_out, "index": index})
    return index


def _print_left_out(lines: Sequence[str]) -> None:
    for line in lines if os.environ.get("RANK", "0") == "0" else ():
        print(f"dlzoo: {line}", file=sys.stderr)


def _describe(registry: Registry, left_out: list[str]) -> dict[str, Any]:
    """Return the part of the index about a registry; add a line to `left_out` for an entry that cannot be described."""
    common = registry.common_settings()
    entries = {}
    for name in registry.names(hidden=True):
        try:
            entries[name] = _describe_entry(registry[name])
        except Exception as error:  # of a plug-in: a parameter of a type that no setting has
            left_out.append(f"{registry.choice}={name} of {registry[name].module} is left out: {first_line(error)}")
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
        "meta": _non_default_marks(entry.marks),
    }
    json.dumps(described)  # a default that no config can hold is an error here
    return described


def _non_default_marks(marks: Marks) -> dict[str, Any]:
    """Return the marks that are not defaults, as JSON values."""
    return {
        name: [asdict(item) if isinstance(item, Metric) else item for item in value]
        if isinstance(value, tuple)
        else value
        for name, value in marks.non_defaults().items()
    }


def _store(path: Path, content: dict[str, Any]) -> None:
    """Write to a temporary file and rename it. A cache that cannot be written only makes the next start slow."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_text(json.dumps(content))
    except OSError:
        pass


def _key() -> str:
    stamp = hashlib.sha1()
    _add_sources(stamp, _PACKAGE)
    for choice in (*REGISTRIES, "task"):
        for point in entry_points(group=f"dlzoo.{choice}"):
            stamp.update(f"{choice} {point.value} {point.dist.version if point.dist else ''}\n".encode())
            for source in _plug_in_sources(point):
                _add_sources(stamp, source)
    return stamp.hexdigest()


def _plug_in_sources(point: EntryPoint) -> list[Path]:
    """Return the folders of the package of a plug-in, or its file if it is a single one; nothing if it is absent."""
    try:
        spec = find_spec(point.module.partition(".")[0])
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return []
    return [Path(path) for path in spec.submodule_search_locations or [spec.origin] if path]


def _add_sources(stamp: hashlib._Hash, source: Path) -> None:
    """Update a hash with the paths, sizes and times of a file, or of the Python files in a folder."""
    for path in _sources(source) if source.is_dir() else [str(source)]:
        with suppress(OSError):  # a built-in module has no file
            status = os.stat(path)
            stamp.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())


def _sources(folder: Path) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.join(root, name) for name in sorted(files) if name.endswith(".py"))
