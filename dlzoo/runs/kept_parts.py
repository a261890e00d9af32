"""The copies of parts files in a run directory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from dlzoo.core import own_parts
from dlzoo.core.entry import Entry
from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import write_atomically
from dlzoo.core.own_source import module_file, source_of
from dlzoo.core.parts_file import PartsFile, hash_of
from dlzoo.core.registries import HOOKS, REGISTRIES

#: The folder of the copies.
FOLDER = "parts"


def keep(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the parts files in use, and the source of what was registered in this process, to a new run directory.

    Returns:
        The fields of run.json about them: {"parts": {"mine.py": {"sha256": ..., "path": ...}}, "not_kept": [...]},
        without those that are empty. The latter says why the source of an entry could not be copied.
    """
    kept, missing = {}, []
    for file in own_parts.in_use():
        file.copy_to(folder / FOLDER)
        kept[file.name] = {"sha256": file.sha256, "path": str(file.origin)}
    for name, entries in _registered_by_file(config).items():
        try:
            kept[name] = _write_source(folder / FOLDER / name, entries)
        except UserError as error:
            missing.append(str(error))
    return {key: value for key, value in (("parts", kept), ("not_kept", missing)) if value}


def _write_source(path: Path, entries: list[Entry]) -> dict[str, str]:
    source = source_of(entries)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, source)
    file = PartsFile.read(path)
    own_parts.trust(file)
    return {"sha256": file.sha256, "path": ""}


def _registered(config: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of this process that a config names."""
    chosen = [(REGISTRIES[choice], section["name"]) for choice, section in config.items() if choice in REGISTRIES]
    chosen += [(HOOKS, name) for name in config.get("hooks", ())]
    return [entry for registry, name in chosen if (entry := registry.own("").get(name))]


def _registered_by_file(config: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """Return name of a file for their source -> entries of this process that a config names."""
    entries = sorted(_registered(config), key=module_file)
    return {name: list(group) for name, group in groupby(entries, module_file)}


@contextmanager
def using_kept(path: Path, record: Mapping[str, Any]) -> Iterator[None]:
    """Use the parts files of a run inside the context, and no others.

    What was registered in this process is used as it is if it has not changed since.

    Args:
        path: the run directory.
        record: its run.json.

    Raises:
        UserError: if a copy was changed, or is of code that was not used on this machine before; if other parts files
            were typed than the run has; if the run needs an entry that was registered in another process.
    """
    for reason in record.get("not_kept", ()):
        if not _registered(record["config"]):
            raise UserError(f"{path}: {reason}")
    files = list(_kept_files(path, record))
    hashes = {file.sha256 for file in files}
    typed = [file for file in own_parts.in_use() if file not in own_parts.typed_in_environment()]
    for file in typed:
        if file.sha256 not in hashes:
            raise UserError(f"{path} goes on with the parts that it was created with, not with {file.path}; leave"
                            " parts= out, or start a new run")  # fmt: skip
    for file in files:
        if not own_parts.is_trusted(file):
            raise UserError(f"{file.path} is code that you have not used before, and this run imports it; read it, and"
                            " type --trust to use it")  # fmt: skip
    registered = _own_hashes(record["config"])
    with own_parts.using([file for file in files if file.sha256 not in registered], only=True):
        yield


def note_changes(path: Path, record: Mapping[str, Any]) -> None:
    """Note which parts files have changed since a run made its copies."""
    for name, about in record.get("parts", {}).items():
        if about["path"] and Path(about["path"]).exists():
            try:
                now = PartsFile.read(Path(about["path"])).sha256
            except UserError:
                continue
            if now != about["sha256"]:
                copy = path / FOLDER / name
                message = f"{about['path']} has changed since the run was created; it goes on with its copy, {copy}"
                warnings.warn(message, Note, stacklevel=2)


def trust_kept(path: Path, record: Mapping[str, Any]) -> None:
    """Record that the copies in a run directory may be used.

    Raises:
        UserError: if one of them was changed after the run was created.
    """
    for file in _kept_files(path, record):
        own_parts.trust(file)


def environment_for(path: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables with which another process may use the copies of a run.

    Raises:
        UserError: if the run needs an entry whose source could not be copied.
    """
    for reason in record.get("not_kept", ()):
        raise UserError(reason)
    return own_parts.environment_for(_kept_files(path, record))


def refuse_others(path: Path, record: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that a run was created with the parts that are in use now.

    Raises:
        UserError: if not.
    """
    now = {file.name: file.sha256 for file in own_parts.in_use()}
    there = {name: about["sha256"] for name, about in record.get("parts", {}).items() if about["path"]}
    of_processes = {about["sha256"] for about in record.get("parts", {}).values() if not about["path"]}
    if now != there or of_processes != _own_hashes(config):
        other = sorted(name for name in now.keys() | there if now.get(name) != there.get(name))
        raise UserError(f"{path} was created with other parts ({', '.join(other) or 'registered in this process'}); set"
                        " another name= or sweep.dir=")  # fmt: skip


def check_sources(config: Mapping[str, Any]) -> None:
    """Check that other processes can be given what a config names and this process has registered.

    Raises:
        UserError: if the source of an entry cannot be found.
    """
    for entries in _registered_by_file(config).values():
        source_of(entries)


def _kept_files(path: Path, record: Mapping[str, Any]) -> Iterator[PartsFile]:
    for name, about in record.get("parts", {}).items():
        copy = path / FOLDER / name
        file = PartsFile.read(copy, Path(about["path"]) if about["path"] else copy)
        if file.sha256 != about["sha256"]:
            raise UserError(f"{copy} was changed after the run was created; restore it, or start a new run")
        yield file


def _own_hashes(config: Mapping[str, Any]) -> set[str]:
    """Return the hashes of the sources of what a config names and this process has registered."""
    hashes = set()
    for entries in _registered_by_file(config).values():
        try:
            hashes.add(hash_of(source_of(entries)))
        except UserError:
            continue
    return hashes
