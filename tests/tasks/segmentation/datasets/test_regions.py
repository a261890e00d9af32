"""Polygons and run-length encodings, compared with pycocotools and with brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dlzoo.tasks.segmentation.datasets.regions import decode_runs, decompress_runs, fill_polygon


def star(numbers: np.random.Generator, height: int, width: int, corners: int) -> np.ndarray:
    """A polygon around the middle, whose corners are at random distances: it may leave the image."""
    angles = np.sort(numbers.uniform(0, 2 * np.pi, corners))
    radii = numbers.uniform(0.3, 1.2, corners)
    return np.stack([width / 2 * (1 + radii * np.cos(angles)), height / 2 * (1 + radii * np.sin(angles))], 1)


def is_inside(x: float, y: float, corners: np.ndarray) -> bool:
    """The even-odd rule, for a ray to the right."""
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside


@pytest.mark.parametrize("seed", range(12))
def test_a_polygon_has_the_pixels_whose_centres_are_inside(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    height, width = numbers.integers(1, 24, 2)
    corners = star(numbers, height, width, int(numbers.integers(3, 9)))
    if seed % 2:
        corners = numbers.permutation(corners)  # edges that cross each other
    region = fill_polygon(corners, height, width)
    expected = [[is_inside(x + 0.5, y + 0.5, corners) for x in range(width)] for y in range(height)]
    assert region.shape == (height, width) and np.array_equal(region, expected)


def test_a_rectangle_of_whole_pixels_has_these_pixels() -> None:
    region = fill_polygon(np.array([(2, 1), (5, 1), (5, 7), (2, 7)], float), 9, 8)
    expected = np.zeros((9, 8), bool)
    expected[1:7, 2:5] = True
    assert np.array_equal(region, expected)
    assert not fill_polygon(np.array([(2, 1), (5, 1), (3, 1)], float), 9, 8).any()


@pytest.mark.parametrize("seed", range(8))
def test_areas_are_those_of_pycocotools(seed: int) -> None:
    coco: Any = pytest.importorskip("pycocotools.mask")
    numbers = np.random.default_rng(seed)
    height, width = (int(side) for side in numbers.integers(60, 160, 2))
    corners = star(numbers, height, width, int(numbers.integers(3, 12)))
    region = fill_polygon(corners, height, width)
    (encoded,) = coco.frPyObjects([corners.ravel().tolist()], height, width)
    reference = coco.decode(encoded).astype(bool)
    length = np.hypot(*(np.roll(corners, -1, 0) - corners).T).sum()
    # pycocotools rounds corners to a fifth of a pixel, and draws the border differently: by part of its length.
    assert abs(int(region.sum()) - int(coco.area(encoded))) <= 0.1 * length
    assert (region != reference).sum() <= 0.3 * length


@pytest.mark.parametrize("seed", range(6))
def test_runs_are_those_of_pycocotools(seed: int) -> None:
    coco: Any = pytest.importorskip("pycocotools.mask")
    numbers = np.random.default_rng(seed)
    shape = (int(numbers.integers(1, 80)), int(numbers.integers(1, 80)))
    region = numbers.random(shape) < (0.5, 0.02, 0.98, 0.0, 1.0, 0.3)[seed]
    encoded = coco.encode(np.asfortranarray(region.astype(np.uint8)))
    runs = decompress_runs(encoded["counts"].decode())
    assert np.array_equal(decode_runs(runs, *shape), region)
    assert coco.frPyObjects({"counts": runs, "size": list(shape)}, *shape)["counts"] == encoded["counts"]


@pytest.mark.parametrize("text", ["é", " ", "P", "0P", "PPPPPPPPPPPPPPPPPPPP0", "\x7f"])
def test_texts_that_are_no_runs(text: str) -> None:
    with pytest.raises(ValueError, match="compressed RLE"):
        decompress_runs(text)


@pytest.mark.parametrize("counts", [[], [5], [7], [3, 4], [-1, 7], [0, 0]])
def test_runs_that_do_not_fill_the_image(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="the runs of the RLE have"):
        decode_runs(counts, 2, 3)
