"""The region of an annotation in a COCO file."""

from __future__ import annotations

from reprlib import repr
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlzoo.core.errors import UserError
from dlzoo.data.annotations.json_file import JsonFile
from dlzoo.tasks.segmentation.datasets.regions import Region, decode_runs, decompress_runs, fill_polygon

#: Limit of coordinates: excludes NaN, infinity and integers too large for a float.
_FAR = 1e9
#: Numbers of the shortest polygon: three corners.
_TRIANGLE = 6


def region_of(file: JsonFile, index: int, height: int, width: int) -> Region:
    """Return the region (H, W) of an annotation: polygons, or an RLE, compressed or not.

    Raises:
        UserError: with its place, if it is neither, or not of an image of this size.
    """
    where = file.where
    if file.rows("annotations")[index].get("segmentation") in (None, [], {}):
        raise UserError(f"{where('annotations', index)}: no segmentation; for boxes alone use data=coco_json")
    shape = file.get("annotations", index, "segmentation", list, dict)
    try:
        return _of_runs(shape, height, width) if isinstance(shape, dict) else _of_polygons(shape, height, width)
    except ValueError as error:
        raise UserError(f"{where('annotations', index)}: {error}") from error


def _of_polygons(polygons: list[Any], height: int, width: int) -> Region:
    region = np.zeros((height, width), bool)
    for polygon in polygons:
        corners = _corners(polygon)
        low, high = corners.min(0), corners.max(0)
        if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
            raise ValueError(f"a polygon from {low[0]:g},{low[1]:g} to {high[0]:g},{high[1]:g} lies outside its image"
                             f" of {width}x{height} pixels")  # fmt: skip
        region |= fill_polygon(corners, height, width)
    return region


def _corners(polygon: Any) -> NDArray[np.float64]:
    """Return the corners (n, 2) of a polygon [x, y, x, y, ...]."""
    numbers = polygon if isinstance(polygon, list) else []
    if len(numbers) < _TRIANGLE or len(numbers) % 2:
        raise ValueError(f"a polygon must be a list [x, y, x, y, x, y, ...], not {repr(polygon)}")
    if not all(type(value) in (int, float) and abs(value) < _FAR for value in numbers):
        raise ValueError(f"a polygon must have numbers as corners, not {repr(polygon)}")
    return np.array(numbers, float).reshape(-1, 2)


def _of_runs(shape: dict[str, Any], height: int, width: int) -> Region:
    counts, size = shape.get("counts"), shape.get("size")
    if size != [height, width]:
        raise ValueError(f"the size of the RLE must be [{height}, {width}], the image's height and width, not"
                         f" {repr(size)}")  # fmt: skip
    if isinstance(counts, str):
        counts = decompress_runs(counts)
    if not isinstance(counts, list) or not all(type(run) is int for run in counts):
        raise ValueError(f"counts of the RLE must be a list of integers or a text, not {repr(counts)}")
    return decode_runs(counts, height, width)
