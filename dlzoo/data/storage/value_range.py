"""The range of values of a set's 16-bit images, which cameras and scanners seldom fill."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import is_transient, regular
from dlzoo.core.schema import Bounds
from dlzoo.data.storage.decode import map_with_progress
from dlzoo.data.storage.image_file import FULL_RANGE, Conversion, open_image
from dlzoo.data.storage.remember import digest, remember, stamp_of

#: The setting data.range: "auto", or the values (low, high) of 16-bit images that become 0 and 255.
ValueRange = (
    Literal["auto"]
    | Annotated[tuple[Annotated[int, Bounds(minimum=0, maximum=65535)], ...], Bounds(minItems=2, maxItems=2)]
)

#: Formats without 16-bit images, whose files need not be opened.
_EIGHT_BITS = {".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".webp"}
#: The first bytes of a PNG file, and where its bit depth is.
_PNG, _DEPTH = b"\x89PNG\r\n\x1a\n", 24
#: The share of all values of a number of bits, from which on images are said to have that number of bits.
_FILLED = 0.9


def check_conversion(background: str, value_range: ValueRange) -> None:
    """Check the settings data.background and data.range, before any file is looked at.

    Raises:
        UserError: if the background is not a colour, or the range not two values of 16 bits.
    """
    Conversion(background)
    if value_range != "auto":
        _check_range(value_range)


def conversion_for(
    root: Path, train: Sequence[Path], paths: Iterable[Path] = (), *, background: str, value_range: ValueRange
) -> Conversion:
    """Return how the pixels of a set of images become 8-bit ones, from its settings data.background and data.range.

    An automatic range is measured on `train`, the paths of the training images, and reported by a note. If these have 8
    bits, which give no range, a note reports the 16-bit images of val and test: those of `paths`, all images.

    Raises:
        UserError: if the background is not a colour, or the range not two values of 16 bits.
    """
    check_conversion(background, value_range)
    if value_range != "auto":
        return Conversion(background, _check_range(value_range))
    deep = _may_be_deep(train)
    measured = _remembered(root, deep) if deep else None
    if measured is None:
        if others := _may_be_deep(paths):
            trained = set(train)
            _note_deep(root, [path for path in others if path not in trained])
        return Conversion(background)
    low, high = round_range(*measured)
    bits = f"{high.bit_length()} bits, " if _is_filled(low, high) else ""
    warnings.warn(f"16-bit images are read as {bits}{low} to {high}, the values of the training images;"
                  " set data.range=[low,high] for others", Note, stacklevel=2)  # fmt: skip
    return Conversion(background, (low, high))


def _may_be_deep(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() not in _EIGHT_BITS]


def _note_deep(root: Path, paths: Sequence[Path]) -> None:
    """Report the 16-bit images among `paths`, those of val and test."""
    if not paths:
        return
    name = digest([str(root.resolve()), "others"])
    found = remember("ranges", name, stamp_of(root, paths), lambda: find_deep(paths))
    if found:
        low, high = FULL_RANGE
        warnings.warn(f"{len(found)} image(s) of val or test, such as {paths[found[0]]}, have 16 bits per channel, but"
                      f" the training images have 8; they are read with the range {low} to {high}; set data.range="
                      "[low,high] for another, or convert them", Note, stacklevel=3)  # fmt: skip


def find_deep(paths: Sequence[Path]) -> list[int]:
    """Return the indices of the 16-bit images among `paths`."""
    limits = map_with_progress(_limits, paths, "measuring")
    return [index for index, found in enumerate(limits) if found]


def _remembered(root: Path, paths: Sequence[Path]) -> tuple[int, int] | None:
    name = digest([str(root.resolve())])
    return remember("ranges", name, stamp_of(root, paths), lambda: _measure(paths))


def round_range(low: int, high: int) -> tuple[int, int]:
    """Return the smallest number of bits, at least 8, as 0 to 2^bits - 1 if `low` to `high` is nine tenths of that.

    Otherwise the range, rounded outwards to about a hundredth of its size.
    """
    most = 2 ** max(8, high.bit_length()) - 1
    if high - low >= _FILLED * most or high == low:
        return 0, most
    unit = 10 ** max(0, math.floor(math.log10((high - low) / 100)))
    return low // unit * unit, min(-(-high // unit) * unit, FULL_RANGE[1])


def _is_filled(low: int, high: int) -> bool:
    return low == 0 and high == 2 ** high.bit_length() - 1


def _check_range(value_range: Sequence[int]) -> tuple[int, int]:
    if len(value_range) != 2 or not FULL_RANGE[0] <= value_range[0] < value_range[1] <= FULL_RANGE[1]:
        raise UserError(
            f"data.range={list(value_range)} must be auto, or two values of 0 to 65535, the lower first: [0,4095]"
        )
    return value_range[0], value_range[1]


def _measure(paths: Sequence[Path]) -> tuple[int, int] | None:
    """Return the smallest and the greatest value of the 16-bit images among `paths`; None if there is none."""
    measured = [limits for limits in map_with_progress(_limits, paths, "measuring") if limits]
    return (min(low for low, _ in measured), max(high for _, high in measured)) if measured else None


def _limits(path: Path) -> tuple[int, int] | None:
    """Return the smallest and the greatest value of a 16-bit image; None for others, of which only a part is read."""
    try:
        with regular(path).open("rb") as file:
            head = file.read(_DEPTH + 1)
        if head.startswith(_PNG) and head[_DEPTH:] != b"\x10":
            return None
        with open_image(path) as image:
            if not image.mode.startswith("I"):
                return None
            pixels = np.asarray(image)
            low, high = int(pixels.min()), int(pixels.max())
            return (low, high) if FULL_RANGE[0] <= low and high <= FULL_RANGE[1] else None
    except (OSError, UserError) as error:  # reported, or left out, where the image is decoded
        if is_transient(error) or is_transient(error.__cause__):
            raise UserError(f"{path}: {error}") from error
        return None
