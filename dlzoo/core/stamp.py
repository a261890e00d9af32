"""The stamp of the sources that an index is made of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def stamp_of_sources(choices: Iterable[str]) -> str:
    """Return a hash of the paths, sizes and times of the sources of dlzoo and of its plug-ins for these choices."""
    stamp = hashlib.sha1()
    _add_sources(stamp, PACKAGE)
    for choice in choices:
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
