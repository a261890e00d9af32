"""Decode image files to uint8 arrays, once per folder if the result fits on the disk."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from platformdirs import user_cache_path
from rich.progress import track

from dlzoo.core import distributed
from dlzoo.core.console import Console
from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import is_transient, reason, remove_abandoned, write_atomically, writing
from dlzoo.data.storage.cache import Cache, uses_disk
from dlzoo.data.storage.image_file import DEFAULT_CONVERSION, open_image, read_image, stored_size, to_eight_bits
from dlzoo.data.storage.lazy_images import LazyImages
from dlzoo.data.storage.remember import digest, file_lock, remember, stamp_of

T = TypeVar("T")
Item = TypeVar("Item")

#: The side that images of several sizes are resized to if the user sets none.
_USUAL_SIZE = 224


def decode_images(
    root: Path,
    paths: Sequence[Path],
    image_size: int | None,
    cache: Cache,
    *,
    read: Callable[[Path, int], np.ndarray] | None = None,
    key: Sequence[str] = (),
    channels: int = 3,
    partners: Sequence[Path] = (),
) -> LazyImages:
    """Return the images at `paths`, all under `root`, as lazily read (N, S, S, channels) uint8.

    If `cache` allows it, they are rows of a file in the cache folder, otherwise they are decoded at each access. The
    file is keyed by each image's path below `root`, its size and its modification times, so a changed folder is decoded
    again.

    Args:
        read: (path of an image, S) -> (S, S, channels) uint8; default `read_image`.
        key: besides `root`, identifies the cache file: writing it deletes older files with the same key only.
        channels: of the arrays that `read` returns.
        partners: other files that `read` reads, such as masks: where one changed, images are decoded again.

    Raises:
        UserError: for a file that is not a complete image (named), or, with `cache` disk, a cache folder that cannot be
            written.
    """
    read = read or read_image
    rows = torch.arange(len(paths))
    name, stamp = digest([str(root.resolve()), *key]), stamp_of(root, [*paths, *partners])
    prefix = f"{name}-{image_size or 'auto'}"
    cached = _folder() / f"{prefix}-{stamp}.npy"
    if cache == "none" or not _is_intact(cached):
        size = image_size or remember("sizes", name, stamp, lambda: _common_size(paths))

        shape = (size, size, channels)

        def write() -> None:
            _write(cached, map_with_progress(lambda path: read(path, size), paths, "decoding"), (len(paths), *shape))

        fits = uses_disk(cache, len(paths) * math.prod(shape), _folder())
        if not (fits and _write_once(prefix, cached, cache, write)):
            return LazyImages(lambda row: read(paths[row], size), shape, rows, "none", f"{prefix}-{stamp}")
    array = np.load(cached, mmap_mode="r")
    return LazyImages(lambda row: array[row], array.shape[1:], rows, "disk", f"{prefix}-{stamp}")


def find_unreadable(root: Path, paths: Sequence[Path], key: Sequence[str] = ()) -> dict[int, str]:
    """Return {index: error} for the files at `paths` that are not complete images, as `check_images`.

    The result is kept in the cache folder.

    Args:
        root: the folder of the files.
        key: besides `root`, identifies the set.
    """
    name = digest([str(root.resolve()), *key])
    found = remember("unreadable", name, stamp_of(root, paths), lambda: check_images(paths))
    return {int(index): problem for index, problem in found.items()}


def check_images(paths: Sequence[Path]) -> dict[int, str]:
    """Return {index: error} for the files at `paths` that are not complete images. All of them are decoded."""

    def problem(path: Path) -> str:
        try:
            with open_image(path) as image:
                to_eight_bits(image, DEFAULT_CONVERSION).load()
        except UserError as error:
            if is_transient(error.__cause__):  # says nothing of the file
                raise
            return str(error)
        return ""

    return {index: message for index, message in enumerate(map_with_progress(problem, paths, "checking")) if message}


def _folder() -> Path:
    return user_cache_path("dlzoo") / "images"


def _write_once(prefix: str, path: Path, cache: Cache, write: Callable[[], None]) -> bool:
    """Call `write` if `path` is not there, or not as it was written, under a lock; delete older files of `prefix`.

    Returns:
        Whether `path` exists then. If the cache folder cannot be written, a note says that nothing is kept.

    Raises:
        UserError: if the cache folder cannot be written, with `cache` disk.
    """
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        with file_lock(_folder() / f"{prefix}.lock"):
            remove_abandoned(_folder())
            if not _is_intact(path):
                write()
            for old in _folder().glob(f"{prefix}-*"):
                if old.stem != path.stem:
                    old.unlink(missing_ok=True)
    except OSError as error:
        problem = f"cannot write decoded images to {_folder()}: {reason(error)}"
        remedy = "free some space, or name another folder in XDG_CACHE_HOME"
        if cache == "disk":
            raise UserError(f"{problem}; {remedy}, or set data.cache=memory") from error
        # One place for all callers: Python shows it once.
        warnings.warn(f"{problem}, so they are not kept for the next run; {remedy}", Note, stacklevel=1)
        return False
    return True


def _common_size(paths: Sequence[Path]) -> int:
    """Return the side of images that are all square and of one size, otherwise 224."""
    sizes = set(map_with_progress(stored_size, paths, "measuring"))
    width, height = next(iter(sizes))
    return width if len(sizes) == 1 and width == height else _USUAL_SIZE


def map_with_progress(work: Callable[[Item], T], items: Sequence[Item], verb: str) -> Iterable[T]:
    """Apply `work` to every image, in order, with one thread per core (PIL releases the GIL)."""
    console = Console(stderr=True)
    with ThreadPoolExecutor(distributed.available_cores()) as pool:
        try:
            yield from track(
                pool.map(work, items), f"{verb} images", len(items), console=console, disable=not console.is_terminal
            )
        finally:
            pool.shutdown(cancel_futures=True)


def _write(path: Path, arrays: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
    """Write a temporary file and rename it; not a memory map, where a full disk kills the process."""
    with writing(path) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.tobytes())
    write_atomically(path.with_suffix(".json"), json.dumps(_seal(path)))


def _is_intact(path: Path) -> bool:
    """Return whether a file of decoded images is as it was written: damaged pixels would be used silently."""
    try:
        return json.loads(path.with_suffix(".json").read_text()) == _seal(path)
    except (OSError, ValueError):
        return False


def _seal(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
