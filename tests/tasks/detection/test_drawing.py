"""Boxes on pictures: where they are, and labels that can be read at any size."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps, colors
from PIL import Image
from torch import Tensor

from dlzoo.metrics.class_colours import class_colour
from dlzoo.tasks.detection.drawing import draw_detections


def drawn(image: np.ndarray, found: Tensor, classes: list[str], **how: bool) -> np.ndarray:
    return np.asarray(draw_detections(Image.fromarray(image), found, classes, **how)).astype(int)


def rows_of(*boxes: list[float], score: float = 0.9) -> Tensor:
    return torch.tensor([[*box, score, float(number)] for number, box in enumerate(boxes)])


@pytest.mark.parametrize(("width", "height"), [(640, 480), (701, 333), (333, 799), (1283, 97), (2000, 2000)])
def test_a_picture_without_detections_is_as_it_was(width: int, height: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = image.copy()
    assert np.array_equal(drawn(image, rows_of([3, 3, 90, 90], score=0), ["a"]), image)
    assert not np.array_equal(drawn(image, rows_of([3, 3, 90, 90]), ["a"]), image)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("side", "times"), [(32, 20), (96, 7), (300, 2), (500, 1), (800, 1)])
def test_boxes_are_drawn_where_they_are_and_small_pictures_enlarged(side: int, times: int) -> None:
    image = np.zeros((side // 2, side, 3), np.uint8)
    picture = drawn(
        image, rows_of([0, 0, 0, 0], [0, 0, 0, 0], [side / 4, side / 4, side / 2, side * 3 / 8])[2:], ["", "", "c"]
    )
    assert picture.shape == (side // 2 * times, side * times, 3)
    lit = picture.sum(2) > 100
    x1, y1, x2, y2 = (int(value * times) for value in (side / 4, side / 4, side / 2, side * 3 / 8))
    rows = np.flatnonzero(lit.any(1))
    assert y1 - 30 < rows[0] < y1 - 5  # the name is above
    assert rows[-1] == pytest.approx(y2, abs=3)
    sides = np.flatnonzero(lit[y1 + 5 : y2 - 5].all(0))
    assert min(abs(sides - x1)) <= 1
    assert min(abs(sides - x2)) <= 1
    assert np.all((abs(sides - x1) < 4) | (abs(sides - x2) < 4))


@pytest.mark.parametrize(
    ("size", "full_size", "expected"),
    [
        ((2000, 2000), False, (2000, 2000)),
        ((4000, 3000), False, (2309, 1732)),
        ((4000, 3000), True, (4000, 3000)),
        ((9, 500_000), False, (8, 471_404)),
        ((1, 1), False, (640, 640)),
        ((64, 1), True, (640, 10)),
    ],
)
def test_large_pictures_are_drawn_on_a_smaller_copy(
    size: tuple[int, int], full_size: bool, expected: tuple[int, int]
) -> None:
    picture = draw_detections(Image.new("RGB", size), rows_of([0.0, 0.0, *size]), ["a"], full_size=full_size)
    assert picture.size == expected


def test_a_box_on_a_smaller_copy_is_scaled_and_its_lines_are_wider() -> None:
    picture = drawn(np.zeros((3000, 4000, 3), np.uint8), rows_of([1000, 1500, 3000, 2700]), ["a"])
    scale, lit = 2309 / 4000, picture.sum(2) > 100
    columns = np.flatnonzero(lit[int(1600 * scale) : int(2600 * scale)].all(0))
    assert columns[0] == pytest.approx(1000 * scale, abs=4)
    assert columns[-1] == pytest.approx(3000 * scale, abs=4)
    assert len(columns) == 2 * 6


@pytest.mark.parametrize("name", ["cat", "собака", "中 $x$", "two\nlines\there", "x" * 3000, "", "\x1b[31m", "e\u0301"])
@pytest.mark.parametrize("size", [(500, 375), (60, 300), (2, 900)])
@pytest.mark.parametrize("where", [(0, 0), (0.9, 0), (0, 0.95), (0.95, 0.95), (0.4, 0.5), (-0.5, -0.5), (1.5, 1.5)])
def test_a_label_is_inside_the_picture(name: str, size: tuple[int, int], where: tuple[float, float]) -> None:
    x, y = (share * side for share, side in zip(where, size, strict=True))
    plain = np.full((size[1], size[0], 3), 200, np.uint8)
    with_label = drawn(plain, rows_of([x, y, x + 3, y + 3]), [name])
    blue = (with_label == (31, 119, 180)).all(2)  # the label's ground, the colour of the first class
    rows = np.flatnonzero(blue.any(1))
    assert len(rows) >= 12  # a whole line of letters
    if size[0] > 50:
        assert np.ptp(np.flatnonzero(blue.any(0))) > 25  # the score at least


def test_labels_lie_over_boxes_and_the_highest_score_over_all() -> None:
    found = rows_of([100, 100, 200, 200], [50, 60, 300, 93])
    found[:, 4] = torch.tensor([0.9, 0.5])
    picture = drawn(np.zeros((400, 640, 3), np.uint8), found, ["a name", "b"])
    label = picture[88:96, 101:140]  # the lower edge of the second box crosses it
    assert (label == (31, 119, 180)).all(2).any()
    assert not (label == (255, 127, 14)).all(2).any()


def test_colours_are_those_of_matplotlibs_tab20_the_strong_ones_first() -> None:
    for number in range(45):
        expected = colors.to_hex(colormaps["tab20"](2 * (number % 10) + number // 10 % 2))
        assert class_colour(number) == expected
