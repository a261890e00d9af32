"""Read one image file as 8-bit pixels, upright."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dlzoo.core.errors import UserError, first_line

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
        with Image.open(path) as image:
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


def stored_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, before its EXIF rotation.

    Raises:
        UserError: if the file is not an image.
    """
    with open_image(path) as image:
        return image.size


def _image_error(path: Path, error: Exception) -> UserError:
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return UserError(f"{path}: cannot be read ({first_line(error)})")
    return UserError(f"{path}: not a complete image ({first_line(error)}); remove or replace it")
