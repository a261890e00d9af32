"""The drawn set: exact boxes and masks, and what its settings do."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.ops import box_iou, masks_to_boxes

from dlzoo.boxes.objects import objects
from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.datasets.sdf import FORMS
from dlzoo.data.datasets.shapes import shapes
from dlzoo.data.datasets.synthetic_scene import Scene, SceneSettings, draw_scene

USUAL = {
    name: setting["default"]
    for name, setting in DATASETS["shapes"].settings.items()
    if name not in ("task", "train", "test")
}
CROWD: dict[str, Any] = {"objects": 12, "overlap": 0.7, "crowd": 0.8}


def scenes(count: int, split: str = "train", **settings: Any) -> list[Scene]:
    return [draw_scene(SceneSettings(**USUAL | settings), split, index) for index in range(count)]


def visible(scene: Scene) -> np.ndarray:
    """(m, S, S) bool: what no later figure hides."""
    return np.stack([mask & ~scene.masks[place + 1 :].any(0) for place, mask in enumerate(scene.masks)])


# Forms


def polygon(corners: list[tuple[float, float]]) -> float:
    x, y = np.array(corners).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


AREAS = {
    "circle": math.pi,
    "ring": math.pi * (1 - 0.56**2),
    "square": 2,
    "triangle": 3 * math.sqrt(3) / 4,
    "cross": 4 * 0.32 * (2 * math.sqrt(1 - 0.32**2) - 0.32),
    "arrow": 2 * 0.26 * 0.96 + 1,
    "star": polygon(
        [
            (radius * math.sin(math.pi * corner / 5), radius * math.cos(math.pi * corner / 5))
            for corner in range(10)
            for radius in [1 if corner % 2 == 0 else math.cos(2 * math.pi / 5) / math.cos(math.pi / 5)]
        ]
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_its_area_lies_in_a_circle_and_is_no_farther_than_it_says(name: str) -> None:
    places = np.linspace(-1.5, 1.5, 601)
    x, y = np.meshgrid(places, places)
    outside = FORMS[name](x, y)
    inside = outside <= 0
    assert np.hypot(x, y)[inside].max() <= 1 + 1e-9
    if name in AREAS:
        assert inside.mean() * 9 == pytest.approx(AREAS[name], rel=0.02)
    for axis in (0, 1):  # so that a rim of a pixel is at least as wide
        assert np.abs(np.diff(outside, axis=axis)).max() <= 3 / 600 + 1e-9


def test_forms_differ() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 200), np.linspace(-1, 1, 200))
    inside = [form(x, y) <= 0 for form in FORMS.values()]
    for number, one in enumerate(inside):
        assert all((one ^ other).mean() > 0.05 for other in inside[number + 1 :])


# Scenes


@pytest.mark.parametrize(
    "settings",
    [
        {},
        CROWD,
        {"image_size": 33, "objects": 20, "overlap": 1.0, "smallest": 0.01, "largest": 1.0},
        {"image_size": 16},
    ],
    ids=["usual", "crowd", "extreme", "tiny"],
)
def test_boxes_are_those_of_the_masks_and_masks_are_in_sight(settings: dict) -> None:
    size = settings.get("image_size", 96)
    for scene in scenes(40, **settings):
        assert scene.image.shape == (size, size, 3)
        assert scene.image.dtype == np.uint8
        assert 1 <= len(scene.classes) <= settings.get("objects", 6)
        assert scene.boxes.shape == (len(scene.classes), 4)
        theirs = masks_to_boxes(torch.from_numpy(scene.masks)) + torch.tensor([0, 0, 1, 1])  # they end in a pixel
        assert torch.equal(theirs.double(), torch.from_numpy(scene.boxes))
        assert (visible(scene).sum((1, 2)) >= 0.3 * scene.masks.sum((1, 2))).all()
        ious = box_iou(torch.from_numpy(scene.boxes), torch.from_numpy(scene.boxes)).fill_diagonal_(0)
        assert ious.max() <= settings.get("overlap", 0.2) + 1e-9


def test_figures_are_painted_where_their_masks_say_and_nowhere_else() -> None:
    for one, other in zip(scenes(30), scenes(30, largest=0.3), strict=True):  # on the same background
        empty = np.ones((96, 96), bool)
        for scene in (one, other):
            for left, top, right, bottom in scene.boxes.astype(int):
                empty[top:bottom, left:right] = False
        assert np.array_equal(one.image[empty], other.image[empty])
        # A figure is of one colour but for its rim, and no stroke goes over it.
        for part in visible(one):
            colours, counts = np.unique(one.image[part], axis=0, return_counts=True)
            if part.sum() > 200:
                assert counts.max() > 0.3 * part.sum(), len(colours)


def test_clutter_changes_what_is_behind_the_figures_only() -> None:
    for plain, full in zip(scenes(20, clutter=0.0), scenes(20, clutter=1.0), strict=True):
        assert np.array_equal(plain.masks, full.masks)
        assert np.array_equal(plain.classes, full.classes)
        behind = ~plain.masks.any(0)
        changed = (plain.image != full.image).any(2)
        assert changed[behind].mean() > 0.9
        inner = visible(plain).any(0) & ~changed
        assert inner.sum() > 0.5 * plain.masks.any(0).sum()


def test_a_scene_is_a_function_of_seed_split_and_index() -> None:
    images = [scene.image.tobytes() for scene in scenes(4)]
    assert images == [scene.image.tobytes() for scene in scenes(4)]
    others = [*scenes(4, "test"), *scenes(4, seed=1)]
    assert len({*images, *(scene.image.tobytes() for scene in others)}) == 12
    small, large = shapes(train=3, test=2), shapes(train=6, test=4)
    assert torch.equal(small.train.images[:], large.train.images[:3])
    assert torch.equal(small.test.images[:], large.test.images[:2])
    assert [image.numpy().tobytes() for image in small.train.images[:]] == images[:3]


def test_a_crowd_is_of_one_class_and_overlaps() -> None:
    def crowded(**settings: Any) -> float:
        """The share of figures that a later or earlier one of the same form overlaps by a third or more."""
        close = []
        for scene in scenes(60, **settings):
            boxes, classes = torch.from_numpy(scene.boxes), torch.from_numpy(scene.classes)
            same = classes[:, None] == classes[None]
            close.append((box_iou(boxes, boxes).fill_diagonal_(0) * same).amax(1) >= 0.34)
        return float(torch.cat(close).float().mean())

    assert crowded() == 0
    assert crowded(objects=12, overlap=0.7) < 0.15
    assert crowded(**CROWD) > 0.7


def test_numbers_sizes_and_classes_are_spread_as_asked() -> None:
    drawn = scenes(300, objects=4, smallest=0.2, largest=0.4)
    counts = np.bincount([len(scene.classes) for scene in drawn], minlength=5)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 0.001
    classes, boxes = (np.concatenate([getattr(scene, name) for scene in drawn]) for name in ("classes", "boxes"))
    assert stats.chisquare(np.bincount(classes, minlength=len(FORMS))).pvalue > 0.001
    sides = (boxes[:, 2:] - boxes[:, :2])[classes == list(FORMS).index("circle")]
    assert np.abs(sides[:, 0] - sides[:, 1]).max() <= 1
    assert 0.2 * 96 - 2 <= sides.min() < 22
    assert 35 < sides.max() <= 0.4 * 96 + 2


def test_figures_are_turned_as_far_as_asked() -> None:
    def filled(turn: float) -> np.ndarray:
        """The part of their boxes that squares fill: 1 where they stand straight, 1/2 on a corner."""
        parts = []
        for scene in scenes(80, turn=turn, smallest=0.4, objects=3):
            squares = scene.classes == list(FORMS).index("square")
            sides = scene.boxes[squares, 2:] - scene.boxes[squares, :2]
            parts.append(scene.masks[squares].sum((1, 2)) / sides.prod(1))
        return np.concatenate(parts)

    assert filled(0.0).min() == 1
    angle = 0.1 * math.pi  # a square of side 1 has a box of side cos + sin
    assert 1 / (math.cos(angle) + math.sin(angle)) ** 2 - 0.05 < filled(0.1).min() < 0.85
    assert filled(1.0).min() < 0.57


# The set


def test_the_set_has_labels_as_detectors_want_them() -> None:
    found = shapes(train=30, test=10, image_size=64)
    assert found.classes == tuple(FORMS)
    for split, name in ((found.train, "train"), (found.test, "test")):
        assert split.images.shape[1:] == (64, 64, 3)
        assert split.sizes is not None
        assert split.sizes.tolist() == [[64, 64]] * len(split)
        boxes, classes, there, difficult = objects(split.labels)
        assert not difficult.any()
        for index, scene in enumerate(scenes(len(split), name, image_size=64)):
            assert np.array_equal(boxes[index][there[index]].numpy(), scene.boxes)
            assert np.array_equal(classes[index][there[index]].numpy(), scene.classes)


def test_a_smallest_that_is_larger_than_the_largest_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.smallest=0\.6 is larger than data\.largest=0\.5"):
        shapes(smallest=0.6)
