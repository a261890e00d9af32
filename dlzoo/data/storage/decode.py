"""Decode image files to uint8 arrays, once per folder if the result fits on the disk."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from platformdirs import user_cache_path
from rich.progress import track

from dlzoo.core import distributed
from dlzoo.core.console import Console
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import reason, regular, replacing
from dlzoo.data.storage.cache import Cache, uses_disk
from dlzoo.data.storage.lazy_images import LazyImages

T = TypeVar("T")
Item = TypeVar("Item")

# Warnings about images that are read correctly nevertheless.
warnings.filterwarnings("ignore", "Palette images with Transparency")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", "Corrupt EXIF data")

#: EXIF orientations -> how the stored image is turned upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

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
) -> LazyImages:
    """Return the images at `paths`, all under `root`, as lazily read (N, S, S, 3) uint8.

    If `cache` allows it, they are rows of a file in the cache folder, otherwise they are decoded at each access. The
    file is keyed by each image's path below `root`, its size and its modification times, so a changed folder is decoded
    again.

    Args:
        read: (path of an image, S) -> (S, S, 3) uint8; default `read_image`.
        key: besides `root`, identifies the cache file: writing it deletes older files with the same key only.

    Raises:
        UserError: for a file that is not a complete image (named), or a cache folder that cannot be written.
    """
    read = read or read_image
    rows = torch.arange(len(paths))
    prefix = f"{_digest([str(root.resolve()), *key])}-{image_size or 'auto'}"
    cached = _folder() / f"{prefix}-{_stamps(root, paths)}.npy"
    if cache == "none" or not cached.exists():
        size = image_size or _common_size(paths)
        if not uses_disk(cache, len(paths) * size * size * 3, _folder()):
            return LazyImages(lambda row: read(paths[row], size), (size, size, 3), rows, "none")
        with _lock_files(prefix, cached) as missing:
            if missing:
                _write(cached, map_with_progress(lambda path: read(path, size), paths, "decoding"), len(paths), size)
    array = np.load(cached, mmap_mode="r")
    return LazyImages(lambda row: array[row], array.shape[1:], rows, "disk")


def find_unreadable(root: Path, paths: Sequence[Path], cache: Cache, key: Sequence[str] = ()) -> dict[int, str]:
    """Return {index: error} for the files at `paths` that are not complete images. All of them are decoded.

    The result is cached in a small file, as decoded images are.

    Raises:
        UserError: if the cache folder cannot be written.
    """
    prefix = f"{_digest([str(root.resolve()), *key])}-unreadable"
    known = _folder() / f"{prefix}-{_stamps(root, paths)}.json"
    if cache == "none":
        return _find_unreadable(paths)
    if not known.exists():
        with _lock_files(prefix, known) as missing:
            if missing:
                aside = known.with_suffix(".tmp")
                aside.write_text(json.dumps(_find_unreadable(paths)))
                aside.replace(known)
    return {int(index): problem for index, problem in json.loads(known.read_text()).items()}


def _find_unreadable(paths: Sequence[Path]) -> dict[int, str]:
    def problem(path: Path) -> str:
        try:
            with open_image(path) as image:
                to_eight_bits(image).load()
        except UserError as error:
            return str(error)
        return ""

    return {index: message for index, message in enumerate(map_with_progress(problem, paths, "checking")) if message}


def _folder() -> Path:
    return user_cache_path("dlzoo") / "images"


@contextmanager
def _lock_files(prefix: str, path: Path) -> Iterator[bool]:
    """Lock the files of `prefix`, yield whether `path` has to be written, and delete older files afterwards."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        with file_lock(_folder() / f"{prefix}.lock"):
            yield not path.exists()
            for old in _folder().glob(f"{prefix}-*{path.suffix}"):
                if old != path:
                    old.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write decoded images to {_folder()}: {reason(error)}; free some space, "
                        "name another folder in XDG_CACHE_HOME, or set data.cache=none") from error  # fmt: skip


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file: ranks, and the runs of a sweep, start at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_image(path: Path, size: int, mode: str = "RGB") -> np.ndarray:
    """Read an image as (size, size, channels) uint8: upright by EXIF, shorter side resized to `size`, centre-cropped.

    Raises:
        UserError: if the file is not a complete image.
    """
    with open_image(path) as image:
        image = to_eight_bits(upright(image)).convert(mode)
        if image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(size, size, -1)


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as the orientation in its EXIF says.

    ImageOps.exif_transpose writes the whole EXIF anew, which fails for malformed tags of any other meaning.
    """
    image.load()  # a PNG's EXIF may come after its pixels
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """Return the orientation in the EXIF of an image, 1 to 8; 1, upright, if there is none that can be read."""
    # Where it comes after the pixels, reading it would decode every image only to get its size.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # malformed EXIF; Pillow raises errors of any type
        return 1


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image, of which only the header is read; errors within the context become a UserError for the file.

    Raises:
        UserError: if the file is not a complete image.
    """
    try:
        with Image.open(regular(path)) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow raises errors of any type for damaged files
        raise _image_error(path, error) from error


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Convert a 16-bit grey image to its upper 8 bits, where PIL would clip most values to white; others unchanged.

    Raises:
        ValueError: for 32-bit values, whose range is unknown.
    """
    if image.mode.startswith("I"):  # PGM has 16 bits in a mode of 32
        pixels = np.asarray(image)
        if pixels.min() >= 0 and pixels.max() < 2**16:
            return Image.fromarray((pixels >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits per channel; 8 and 16 are supported")
    return image


def _common_size(paths: Sequence[Path]) -> int:
    """Return the side of images that are all square and of one size, otherwise 224."""
    sizes = set(map_with_progress(_size, paths, "measuring"))
    width, height = next(iter(sizes))
    return width if len(sizes) == 1 and width == height else _USUAL_SIZE


def _size(path: Path) -> tuple[int, int]:
    with open_image(path) as image:
        return image.size


def _image_error(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:  # of the system; Pillow's have no number
        return UserError(f"{path}: cannot be read ({reason(error)})")
    return UserError(f"{path}: not a complete image ({first_line(error)}); remove or replace it")


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


def _write(path: Path, arrays: Iterable[np.ndarray], count: int, size: int) -> None:
    """Write a temporary file and rename it; not a memory map, where a full disk kills the process."""
    with replacing(path) as aside, aside.open("xb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _stamps(root: Path, paths: Sequence[Path]) -> str:
    return _digest(_stamp(root, path) for path in paths)


def _stamp(root: Path, path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file")
    name = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()
