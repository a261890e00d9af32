"""Which images a COCO file means: folders of each part, and file names as other programs write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlzoo.core.errors import UserError
from tests.box_files import load, photo, sizes_of

pytestmark = pytest.mark.usefixtures("cache_home")


def write(path: Path, names: list[str]) -> None:
    """A file that names these pictures, with an object in each."""
    images = [{"id": index, "file_name": name} for index, name in enumerate(names)]
    things = [{"image_id": index, "category_id": 0, "bbox": [1, 1, 9, 9]} for index in range(len(names))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": things, "categories": [{"id": 0, "name": "x"}]}))


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("images/train", "images/val"),
        ("images", "images/val"),
        ("images/train", "images"),
        (".", "val"),
        ("images", "val"),
        ("images", "images/validation"),
        ("train2017", "images/val_01"),
    ],
)
def test_each_part_has_its_own_pictures_of_the_same_names(train: str, val: str, tmp_path: Path) -> None:
    for part, place, size in (("train", train, (30, 20)), ("val", val, (20, 40))):
        write(tmp_path / "annotations" / f"{part}.json", ["0.png", "1.png"])
        for name in ("0.png", "1.png"):
            photo(tmp_path / place / name, *size)
    data = load("coco_json", tmp_path)
    assert sizes_of(data.train).tolist() == [[30, 20]] * 2
    assert sizes_of(data.test).tolist() == [[20, 40]] * 2


#: Number of a picture and the folder of the pictures -> its file_name.
NAMES: dict[str, Callable[[int, Path], str]] = {
    "backslash": lambda i, folder: f"images\\{i}.png",
    "backslashes": lambda i, folder: f".\\images\\{i}.png",
    "up and down": lambda i, folder: f"{i}.png" if i % 2 else f"..\\images\\{i}.png",
    "backslash in front": lambda i, folder: f"\\images\\{i}.png",
    "up": lambda i, folder: f"../images/{i}.png",
    "absolute": lambda i, folder: f"{folder}/{i}.png",
    "both": lambda i, folder: f"{folder}/{i}.png" if i % 2 else f"{i}.png",
}


@pytest.mark.parametrize("name", NAMES)
def test_file_names_of_other_programs(name: str, tmp_path: Path) -> None:
    for index in range(5):
        photo(tmp_path / "images" / f"{index}.png", 20 + index)
    write(tmp_path / "train.json", [NAMES[name](index, tmp_path / "images") for index in range(5)])
    data = load("coco_json", tmp_path)
    widths = [size[0] for part in (data.train, data.test) for size in sizes_of(part).tolist()]
    assert sorted(widths) == [20, 21, 22, 23, 24]


def test_a_backslash_that_is_part_of_a_name_stays(tmp_path: Path) -> None:
    for index in range(5):
        photo(tmp_path / f"a\\{index}.png")
        photo(tmp_path / "a" / f"{index}.png", 40)
    write(tmp_path / "train.json", [f"a\\{index}.png" for index in range(5)])
    assert sizes_of(load("coco_json", tmp_path).train).tolist() == [[30, 20]] * 4


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("C:\\Users\\u\\0.png", "is a path of Windows"),
        ("d:/data/0.png", "is a path of Windows"),
        ("\\\\server\\share\\0.png", "is a path of Windows"),
        ("http://localhost:8080/0.png", "is a URL"),
        ("s3://bucket/0.png", "is a URL"),
        ("/home/other/0.png", "is an absolute path, but no file here"),
    ],
)
@pytest.mark.parametrize("every", [True, False])
def test_file_names_of_elsewhere_say_what_they_are(name: str, says: str, every: bool, tmp_path: Path) -> None:
    for index in range(5):
        photo(tmp_path / f"{index}.png")
    write(tmp_path / "train.json", [name, *([name] if every else [f"{index}.png" for index in range(5)])])
    with pytest.raises(UserError, match=f"line 1, images id 0: the file_name .* {says}") as raised:
        load("coco_json", tmp_path)
    assert "data.images" not in str(raised.value)
    if not every:
        with pytest.warns(UserWarning, match=f"^1 bad image.*{says}"):
            assert load("coco_json", tmp_path, on_bad="skip").skipped == 1


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "..\\secret.png", "{}/secret.png"])
@pytest.mark.parametrize("images", [None, "images"])
def test_file_names_do_not_lead_out_of_the_data(name: str, images: str | None, tmp_path: Path) -> None:
    root = tmp_path / "d"
    place = root / (images or ".")
    photo(place.parent / "secret.png")
    (place / "a").mkdir(parents=True)
    for index in range(5):
        photo(place / f"{index}.png")
    write(root / "train.json", [name.format(place.parent), *(f"{index}.png" for index in range(5))])
    with pytest.raises(UserError, match=r"the file_name .* leads out of .*; set data.images to a folder that contains"):
        load("coco_json", root, images=images)


def test_backslashes_do_not_make_a_path_absolute(tmp_path: Path) -> None:
    photo(tmp_path / "secret.png")
    for index in range(5):
        photo(tmp_path / "d" / f"{index}.png")
    name = str(tmp_path / "secret.png").replace("/", "\\")
    write(tmp_path / "d" / "train.json", [name, *(f"{index}.png" for index in range(5))])
    with pytest.raises(UserError, match=r"the file_name .* is a path of Windows"):
        load("coco_json", tmp_path / "d")


def test_data_images_may_be_the_root_of_the_disk(tmp_path: Path) -> None:
    for index in range(5):
        photo(tmp_path / "elsewhere" / f"{index}.png")
    write(tmp_path / "d" / "train.json", [f"{tmp_path}/elsewhere/{index}.png" for index in range(5)])
    with pytest.raises(UserError, match="leads out of"):
        load("coco_json", tmp_path / "d")
    assert len(load("coco_json", tmp_path / "d", images="/").train) == 4


def test_images_behind_a_link_are_in_the_data(tmp_path: Path) -> None:
    for index in range(5):
        photo(tmp_path / "disk" / f"{index}.png")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "images").symlink_to(tmp_path / "disk")
    for name in ("{}/d/images/{}.png", "{}/disk/{}.png"):
        write(tmp_path / "d" / "train.json", [name.format(tmp_path, index) for index in range(5)])
        assert len(load("coco_json", tmp_path / "d").train) == 4
