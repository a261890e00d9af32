"""Masks as they are stored in image files: a number for each pixel, or a colour."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlzoo.data.storage.image_file import open_image

#: Modes of images with one number for each pixel: a palette's indices, greys, or black and white.
_NUMBERS = {"P", "L", "1"}
#: The largest number of a pixel.
_LARGEST = 2**16 - 1


class StoredMask(NamedTuple):
    """A mask as it is stored.

    Attributes:
        values: (H, W) uint16 or uint32, numbers, or colours as 65536 * red + 256 * green + blue.
        is_colour: whether these are colours.
    """

    values: NDArray[np.uint16] | NDArray[np.uint32]
    is_colour: bool = False

    def resize(self, size: tuple[int, int]) -> StoredMask:
        """Return the mask with another width and height, by nearest neighbour."""
        height, width = self.values.shape
        if size == (width, height):
            return self
        # The pixel that the centre of a new one is in, in integers: floats would round at the borders of pixels.
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size[::-1], (height, width), strict=True)
        )
        return StoredMask(self.values[rows][:, columns], self.is_colour)


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
        if by_colour or not _has_numbers(image):
            return _colours(image, by_colour=by_colour)
        values = np.asarray(image.getchannel(0) if image.mode in ("PA", "LA") else image)
        if values.dtype.kind == "f" and (values != np.floor(values)).any():
            raise ValueError("a mask with numbers that are not whole")
        if values.size and (values.min() < 0 or values.max() > _LARGEST):
            raise ValueError(f"a mask with numbers from {values.min():g} to {values.max():g}; 0 to {_LARGEST} are read")
        return StoredMask(values.astype(np.uint16))


def _has_numbers(image: Image.Image) -> bool:
    return image.mode in _NUMBERS or image.mode in ("PA", "LA", "F") or image.mode.startswith("I")


def _colours(image: Image.Image, *, by_colour: bool) -> StoredMask:
    if image.mode.startswith("I") or image.mode == "F":
        raise ValueError(f"a mask of mode {image.mode} has numbers, not colours; leave data.colours out")
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
