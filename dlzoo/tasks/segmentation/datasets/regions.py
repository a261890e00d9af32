"""Regions of an image as COCO stores them: polygons, and run-length encodings (RLE)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Region = NDArray[np.bool_]


def fill_polygon(corners: NDArray[np.float64], height: int, width: int) -> Region:
    """Return the pixels (H, W) whose centres are inside a polygon, by the even-odd rule.

    Args:
        corners: (n, 2) x and y, from the upper left corner of the image; the last one is joined to the first.
    """
    x, y = corners[:, 0], corners[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    # An edge crosses the lines of pixel centres first, ..., last - 1.
    first, last = (np.ceil(pick(y, next_y) - 0.5).clip(0, height).astype(int) for pick in (np.minimum, np.maximum))
    count = last - first
    edge = np.repeat(np.arange(len(x)), count)
    line = np.arange(len(edge)) - np.repeat(count.cumsum() - count, count) + first[edge]
    share = (line + 0.5 - y[edge]) / (next_y - y)[edge]
    crossed = x[edge] + share * (next_x - x)[edge]
    # From this pixel on, the line is on the other side of the edge.
    column = np.ceil(crossed - 0.5).clip(0, width).astype(int)
    crossings = np.bincount(line * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return crossings.cumsum(1)[:, :width] % 2 == 1


def decode_runs(counts: list[int], height: int, width: int) -> Region:
    """Return the region (H, W) of an uncompressed RLE: the lengths of runs outside and inside, column by column.

    Raises:
        ValueError: if they do not add up to the number of pixels.
    """
    if min(counts, default=0) < 0 or sum(counts) != height * width:
        raise ValueError(f"the runs of the RLE have {sum(counts):,} pixels, not {height * width:,}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def decompress_runs(text: str) -> list[int]:
    """Return the runs of a compressed RLE (pycocotools' rleFrString).

    A run is written in groups of 5 bits, the lowest first, each as a character from "0" on, to which 32 is added if
    another group follows. From the fourth run on, it is the difference to the run before the last one.

    Raises:
        ValueError: for characters that are none of these, or if the last run is cut.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise ValueError(f"the compressed RLE has the character {character!r} where none belongs")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (1 << shift) if group & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the compressed RLE is cut")
    return runs
