"""COCO files as other programs write them: numbers in other spellings, and categories that are groups."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from dlzoo.core.errors import Note, UserError
from dlzoo.data.box_set import BoxSet
from tests.box_files import in_pictures, load, photo, sizes_of

pytestmark = pytest.mark.usefixtures("cache_home")


def read(root: Path, image: dict, annotation: dict, categories: list[dict] | None = None) -> BoxSet:
    """Five pictures of an object each; of the first, the image or the annotation is changed."""
    images = [{"id": index, "file_name": f"{index}.png", "width": 30, "height": 20} for index in range(5)]
    things = [{"id": index, "image_id": index, "category_id": 0, "bbox": [1, 1, 9, 9]} for index in range(5)]
    for index in range(5):
        photo(root / f"{index}.png")
    images[0] |= image
    things[0] |= annotation
    categories = categories or [{"id": 0, "name": "x"}]
    (root / "train.json").write_text(json.dumps({"images": images, "annotations": things, "categories": categories}))
    return load("coco_json", root)


@pytest.mark.parametrize("image", [{"width": 0, "height": 0}, {"width": -1}, {"height": None}, {"height": 20.0},
                                   {"width": "30"}, {"id": "0"}, {"id": 0.0}], ids=str)  # fmt: skip
def test_spellings_of_an_image(image: dict, tmp_path: Path) -> None:
    data = read(tmp_path, image, {})
    assert sizes_of(data.train).tolist() == [[30, 20]] * 4


@pytest.mark.parametrize(
    "annotation",
    [
        *({"category_id": "0"}, {"category_id": 0.0}, {"image_id": 0.0}, {"image_id": "0"}),
        *({"iscrowd": None}, {"iscrowd": 0.0}, {"iscrowd": "0"}, {"iscrowd": False}),
    ],
    ids=str,
)
def test_spellings_of_an_annotation(annotation: dict, tmp_path: Path) -> None:
    data = read(tmp_path, {}, annotation)
    assert in_pictures(data.train) == [[(1, 1, 10, 10, 0, 0)]] * 4
    assert in_pictures(data.test) == [[(1, 1, 10, 10, 0, 0)]]


@pytest.mark.parametrize(
    ("image", "annotation", "says"),
    [
        ({"width": 30.5}, {}, "width must be an integer, not 30.5"),
        ({"width": True}, {}, "width must be an integer, not True"),
        ({"width": "030"}, {}, "width must be an integer, not '030'"),
        ({}, {"category_id": 0.5}, "category_id must be an integer, not 0.5"),
        ({}, {"category_id": None}, "category_id must be an integer, not None"),
        ({}, {"iscrowd": float("inf")}, "iscrowd must be an integer, not inf"),
    ],
)
def test_what_is_no_integer(image: dict, annotation: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"line 1, (images|annotations) id 0: {says}"):
        read(tmp_path, image, annotation)


def test_an_identifier_may_be_a_word_with_zeros_in_front(tmp_path: Path) -> None:
    assert in_pictures(read(tmp_path, {"id": "000"}, {"image_id": "000"}).train) == [[(1, 1, 10, 10, 0, 0)]] * 4


GROUP = {"id": 7, "name": "x", "supercategory": "none"}


@pytest.mark.parametrize("group", [GROUP, {"id": 7, "name": "x"}, GROUP | {"supercategory": None}], ids=str)
def test_a_group_that_has_the_name_of_one_of_its_categories_is_left_out(group: dict, tmp_path: Path) -> None:
    members = [{"id": 0, "name": "x", "supercategory": "x"}, {"id": 1, "name": "y", "supercategory": "x"}]
    with pytest.warns(Note, match="categories id 7: 'x' has no objects, and a category in it has its name") as noted:
        data = read(tmp_path, {}, {}, [group, *members])
    assert (data.classes, len(noted)) == (("x", "y"), 1)


@pytest.mark.parametrize(
    ("categories", "category"),
    [
        ([GROUP, {"id": 0, "name": "x", "supercategory": "x"}], 7),  # it has an object
        ([GROUP, {"id": 0, "name": "x", "supercategory": "none"}], 0),  # it has no members
    ],
)
def test_other_categories_of_one_name_are_refused(categories: list, category: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="duplicate category id or name"):
        read(tmp_path, {}, {"category_id": category}, categories)


def test_a_group_of_its_own_name_stays(tmp_path: Path) -> None:
    categories = [
        {"id": 7, "name": "things", "supercategory": "none"},
        {"id": 0, "name": "x", "supercategory": "things"},
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, {}, {}, categories).classes == ("x", "things")
