"""Masks as they are stored in image files: a number for each pixel, or a colour."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlzoo.core.errors import UserError
from dlzoo.data.storage.image_file import open_image

#: Modes of images with one number for each pixel: a palette's indices, greys, or black and white.
_NUMBERS = {"P", "L", "1"}
#: The largest number of a pixel.
_LARGEST = 2**16 - 1
#: Formats that change the values of pixels. A WebP file is one of them unless it has a lossless chunk.
_LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "AVIF": "AVIF", "WEBP": "lossy WebP"}
#: Where a PNG file has its bit depth, and the depths whose greys Pillow multiplies to fill 0 to 255.
_DEPTH_AT, _SCALED = 24, (2, 4)


class StoredMask(NamedTuple):
    """A mask as it is stored.

    Attributes:
        values: (H, W) uint16 or uint32, numbers, or colours as 65536 * red + 256 * green + blue.
        is_colour: whether these are colours.
        lossy: the format of a file that does not keep the values; "" for others.
    """

    values: NDArray[np.uint16] | NDArray[np.uint32]
    is_colour: bool = False
    lossy: str = ""

    def resize(self, size: tuple[int, int]) -> StoredMask:
        """Return the mask with another width and height, by nearest neighbour."""
        height, width = self.values.shape
        if size == (width, height):
            return self
        # The pixel that the centre of a new one is in, in integers: floats would round at the borders of pixels.
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size[::-1], (height, width), strict=True)
        )
        return self._replace(values=self.values[rows][:, columns])


def read_mask(path: Path, *, by_colour: bool) -> StoredMask:
    """Read the mask in an image file.

    A palette image has the indices of its palette, not the colours. An image with three equal channels is a grey one.

    Args:
        path: the file.
        by_colour: whether to read the colour of each pixel, also of a palette or a grey image.

    Raises:
        UserError: if the file is not a complete image, or its pixels are neither numbers up to 65535 nor colours.
    """
    with open_image(path) as image:
        numbers = _has_numbers(image)
        mask = _numbers(image, path) if numbers and not by_colour else _colours(image, path, by_colour=by_colour)
        return mask._replace(lossy=_lossy_format(image, path))


def _numbers(image: Image.Image, path: Path) -> StoredMask:
    values = np.asarray(image.getchannel(0) if image.mode in ("PA", "LA") else image)
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise UserError(f"{path}: a mask with numbers that are not whole; save a whole number for each pixel")
    if values.size and (values.min() < 0 or values.max() > _LARGEST):
        raise UserError(
            f"{path}: a mask with numbers from {values.min():g} to {values.max():g}; 0 to {_LARGEST} are read"
        )
    if image.mode == "L" and (depth := _depth(image, path)) in _SCALED:
        values = values // (255 // (2**depth - 1))
    return StoredMask(values.astype(np.uint16))


def _depth(image: Image.Image, path: Path) -> int:
    """Return the bits of a pixel of a PNG file; 8 for others."""
    if image.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(_DEPTH_AT + 1)[_DEPTH_AT]


def _lossy_format(image: Image.Image, path: Path) -> str:
    """Return the format of a file that does not keep the values of its pixels; "" for others."""
    name = _LOSSY.get(image.format or "", "")
    return "" if image.format == "WEBP" and b"VP8L" in path.read_bytes() else name


def _has_numbers(image: Image.Image) -> bool:
    return image.mode in _NUMBERS or image.mode in ("PA", "LA", "F") or image.mode.startswith("I")


def _colours(image: Image.Image, path: Path, *, by_colour: bool) -> StoredMask:
    if image.mode.startswith("I") or image.mode == "F":
        raise UserError(f"{path}: a mask of 16 or 32 bits has numbers, not colours; leave data.colours out")
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.uint32), 2, 0)
    if not by_colour and (red == green).all() and (red == blue).all():
        return StoredMask(red.astype(np.uint16))
    return StoredMask(red << 16 | green << 8 | blue, is_colour=True)


def palette_of(path: Path) -> list[tuple[int, int, int]]:
    """Return the colours of the palette of an image file; [] if it has none, or one of greys only."""
    with open_image(path) as image:
        flat = image.getpalette("RGB") if image.mode in ("P", "PA") else None
    colours = [(red, green, blue) for red, green, blue in zip(*[iter(flat or [])] * 3, strict=True)]
    return colours if any(len(set(colour)) > 1 for colour in colours) else []


def unpack_colour(value: int) -> tuple[int, int, int]:
    """Return red, green and blue of a colour as `StoredMask` has it."""
    return value >> 16, value >> 8 & 255, value & 255


def pack_colour(red: int, green: int, blue: int) -> int:
    """Return a colour as `StoredMask` has it."""
    return red << 16 | green << 8 | blue
