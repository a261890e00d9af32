"""Files that `dlzoo predict` writes for image files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason, shorten

#: Bytes of a name that is taken from an image: a name may have 255, and "-found-123456.png" is added.
_LONGEST = 230
#: The largest number of pixels of a drawn image, unless it is drawn in its full size.
_MOST = 4_000_000


def output_names(files: Sequence[str], ending: str) -> list[str]:
    """Return a name for what is made of each file: its stem and `ending`, "-found.png"; equal names get a number."""
    names: list[str] = []
    for file in files:
        stem, number = f"{_shortened(Path(file).stem)}{Path(ending).stem}", 1
        name = stem
        while f"{name}{Path(ending).suffix}" in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(f"{name}{Path(ending).suffix}")
    return names


def _shortened(stem: str) -> str:
    """Return the name of an image, cut at the end if that of its drawn copy would be too long for a file system."""
    name = os.fsencode(stem)
    return stem if len(name) <= _LONGEST else name[:_LONGEST].decode(errors="ignore")


def refuse_lost(out: Path, names: Sequence[str], kept: Sequence[str], files: Sequence[str]) -> None:
    """Refuse to overwrite files of the user: the input images, and in a folder of theirs any file, `kept`.

    Raises:
        UserError: if there is such a file.
    """
    inputs = [Path(file).resolve() for file in files]
    for name in names:
        if (out / name).resolve() in inputs:
            raise UserError(f"--out: {out / name} is one of the input images; choose another folder")
    for name in kept:
        if (out / name).exists():
            raise UserError(f"--out: {out / name} already exists; choose another folder, or move the file away")


def shrink(image: Image.Image) -> Image.Image:
    """Return a copy of an image, of at most 4 megapixels."""
    width, height = image.size
    if width * height <= _MOST:
        return image.copy()
    scale = math.sqrt(_MOST / (width * height))
    small = max(1, int(width * scale)), max(1, int(height * scale))
    return image.resize(small, Image.Resampling.BILINEAR, reducing_gap=2.0)


def save_image(drawn: Image.Image, path: Path) -> str:
    """Write an image and return its path.

    Raises:
        UserError: if it cannot be written.
    """
    with refusing_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(path, compress_level=1)  # a tenth larger than at 6, and several times as fast
    return str(path)


@contextmanager
def refusing_write_errors(path: Path) -> Iterator[None]:
    """Raise UserError for an OSError inside the context, in which `path` is written."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{shorten(path)}: cannot be written ({reason(error)}); name another folder with --out"
        ) from error
