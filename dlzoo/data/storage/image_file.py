"""Read one image file as 8-bit pixels, upright."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import reason, regular

# Warnings about images that are read correctly nevertheless.
warnings.filterwarnings("ignore", "Palette images with Transparency")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", "Corrupt EXIF data")

#: All values of 16-bit pixels.
FULL_RANGE = (0, 2**16 - 1)
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


@dataclass(frozen=True)
class Conversion:
    """How pixels of a file become opaque 8-bit ones.

    Args:
        background: the colour behind transparent pixels, one of Pillow's names or "#rrggbb".
        value_range: the values of 16-bit images that become 0 and 255.

    Raises:
        UserError: if the background is not a colour.
    """

    background: str = "white"
    value_range: tuple[int, int] = FULL_RANGE

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise UserError(
                f"data.background={self.background} is not a colour; set a name such as black, or '#rrggbb'"
            ) from error

    @property
    def known_range(self) -> tuple[int, int] | None:
        """The range for run.json: None for the whole one, so for all sets without 16-bit images."""
        return None if self.value_range == FULL_RANGE else self.value_range

    @property
    def colour(self) -> tuple[int, ...]:
        """The background as red, green and blue."""
        return ImageColor.getrgb(self.background)[:3]


#: Transparent pixels become white, and 16-bit pixels keep their upper 8 bits.
DEFAULT_CONVERSION = Conversion()


def read_image(
    image: Path | Image.Image, size: int, mode: str = "RGB", *, conversion: Conversion = DEFAULT_CONVERSION
) -> np.ndarray:
    """Read an image as (size, size, channels) uint8: upright by EXIF, shorter side resized to `size`, centre-cropped.

    Raises:
        UserError: if the file is not a complete image.
    """
    with open_image(image) as opened:
        eight_bits = to_eight_bits(upright(opened), conversion).convert(mode)
        if eight_bits.size != (size, size):
            eight_bits = ImageOps.fit(eight_bits, (size, size), Image.Resampling.BILINEAR)
        return np.asarray(eight_bits).reshape(size, size, -1)


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
def open_image(image: Path | Image.Image) -> Iterator[Image.Image]:
    """Open an image, of which only the header is read; errors within the context become a UserError for the file.

    An image that is open already stays open.

    Raises:
        UserError: if the file is not a complete image.
    """
    try:
        if isinstance(image, Image.Image):
            yield image
        else:
            with Image.open(regular(image)) as opened:
                yield opened
    except UserError:
        raise
    except Exception as error:  # Pillow raises errors of any type for damaged files
        path = Path(getattr(image, "filename", "") or "an image") if isinstance(image, Image.Image) else image
        raise _image_error(path, error) from error


def to_eight_bits(image: Image.Image, conversion: Conversion) -> Image.Image:
    """Return an image without transparency and with 8 bits per channel; unchanged if it is such an image.

    Raises:
        ValueError: for 32-bit values, whose range is unknown.
    """
    if image.mode.startswith("I"):  # PGM has 16 bits in a mode of 32
        pixels = np.asarray(image)
        if pixels.min() >= FULL_RANGE[0] and pixels.max() <= FULL_RANGE[1]:
            return _scale(pixels, image.info.get("transparency"), conversion)
    if image.mode in ("I", "F"):
        raise ValueError("32 bits per channel; 8 and 16 are supported")
    return _flatten(image, conversion) if image.has_transparency_data else image


def _scale(pixels: np.ndarray, transparent: int | None, conversion: Conversion) -> Image.Image:
    """Scale 16-bit pixels to 0 to 255. The full range keeps the upper 8 bits; Pillow would clip most values to white.

    Args:
        transparent: the value of transparent pixels, or None.
    """
    low, high = conversion.value_range
    # Each grey stands for equally many values; if there are fewer values than greys, the highest is white as well.
    greys, values = (256, high - low + 1) if high - low > 255 else (255, high - low)
    above = pixels.clip(low, high).astype(np.uint32) - np.uint32(low)
    grey = Image.fromarray((above * np.uint32(greys) // np.uint32(values)).astype(np.uint8))
    if transparent is None:
        return grey
    mask = Image.fromarray(pixels == transparent)
    return Image.composite(Image.new("RGB", grey.size, conversion.colour), grey.convert("RGB"), mask)


def _flatten(image: Image.Image, conversion: Conversion) -> Image.Image:
    """Compose an image on the background, unless it turns out to be opaque: colours do not change then."""
    layers = image.convert("RGBA")
    if layers.getchannel("A").getextrema() == (255, 255):
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, conversion.colour), layers).convert("RGB")


def stored_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, before its EXIF rotation.

    Raises:
        UserError: if the file is not an image.
    """
    with open_image(path) as image:
        return image.size


def _image_error(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:  # of the system; Pillow's have no number
        return UserError(f"{path}: cannot be read ({reason(error)})")
    if isinstance(error, Image.DecompressionBombError):
        return UserError(f"{path}: too large an image ({first_line(error)}); scale it down")
    return UserError(f"{path}: not a complete image ({first_line(error)}); remove or replace it")
