"""Folders of YOLO data as tools and people lay them out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dlzoo.core.errors import UserError
from dlzoo.tasks.detection.datasets.yolo_layout import find_parts
from tests.box_files import load, photo
from tests.conftest import draw_pictures

LINE = "0 0.5 0.5 0.5 0.5\n"


def make(images: Path, labels: Path, count: int, start: int = 0) -> None:
    """Pictures with one box each."""
    for number in range(start, start + count):
        photo(images / f"{number}.png")
        labels.mkdir(parents=True, exist_ok=True)
        (labels / f"{number}.txt").write_text(LINE)


def sizes(root: Path) -> tuple[int, int, int]:
    data = load("yolo_txt", root)
    return len(data.train), 0 if data.val is None else len(data.val), len(data.test)


@pytest.mark.parametrize("inner", [True, False], ids=["images/part", "part/images"])
@pytest.mark.parametrize(
    ("train", "val"), [("train", "validation"), ("Train", "Validation"), ("train2017", "val2017"), ("TRAIN", "dev")]
)
def test_parts_by_other_names(train: str, val: str, inner: bool, tmp_path: Path, cache_home: Path) -> None:
    for part, count in ((train, 10), (val, 4), ("test", 3)):
        places = [tmp_path / kind / part if inner else tmp_path / part / kind for kind in ("images", "labels")]
        make(*places, count)
    assert sizes(tmp_path) == (10, 4, 3)


@pytest.mark.parametrize(
    "content",
    [
        "train: images/first\nval: images/second\n",
        "path: .\ntrain: [images/first]\nval: ./images/second\n",
        "path: ../d\ntrain: ../images/first\nval: ../images/second\n",
        "train: first.txt\nval: [second.txt]\n",
    ],
)
def test_data_yaml_says_what_is_train(content: str, tmp_path: Path, cache_home: Path) -> None:
    root = tmp_path / "d"
    for part, count in (("first", 10), ("second", 4)):
        make(root / "images" / part, root / "labels" / part, count)
        (root / f"{part}.txt").write_text("".join(f"./images/{part}/{number}.png\n" for number in range(count)))
    (root / "data.yaml").write_text(f"{content}names: [thing]\n")
    assert sizes(root) == (10, 0, 4)


def test_a_part_that_data_yaml_does_not_name_is_that_of_its_folder(tmp_path: Path, cache_home: Path) -> None:
    for part, count in (("train", 10), ("val", 4), ("test", 3)):
        make(tmp_path / "images" / part, tmp_path / "labels" / part, count)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [thing]\n")
    assert sizes(tmp_path) == (10, 4, 3)


def test_places_of_another_machine_leave_the_layout_and_a_missing_one_is_named(
    tmp_path: Path, cache_home: Path
) -> None:
    for part, count in (("train", 10), ("val", 4)):
        make(tmp_path / "images" / part, tmp_path / "labels" / part, count)
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: /home/other/images/train\nval: /home/other/images/val\nnames: [thing]\n")
    assert sizes(tmp_path) == (10, 0, 4)
    yaml.write_text("train: images/train\nval: images/vla\nnames: [thing]\n")
    with pytest.raises(UserError, match=r"data.yaml: val: images/vla does not exist"):
        sizes(tmp_path)
    yaml.write_text("train: {a: 1}\nnames: [thing]\n")
    with pytest.raises(UserError, match="train must be a folder, a text file, or a list of these"):
        sizes(tmp_path)
    (tmp_path / "list.txt").write_text("images/train/0.png\nimages/train/77.png\n")
    yaml.write_text("train: list.txt\nnames: [thing]\n")
    with pytest.raises(UserError, match=r"1 of 2 images do not exist, such as .*77\.png"):
        sizes(tmp_path)


def test_texts_beside_the_images_and_in_capitals(tmp_path: Path, cache_home: Path) -> None:
    make(tmp_path / "images" / "train", tmp_path / "images" / "train", 6)
    make(tmp_path / "images" / "val", tmp_path / "labels" / "val", 3)
    make(tmp_path / "images" / "val", tmp_path / "images" / "val", 2, start=10)
    (tmp_path / "labels" / "val" / "0.txt").rename(tmp_path / "labels" / "val" / "0.TXT")
    (tmp_path / "images" / "train" / "0.npy").write_bytes(b"features")
    (tmp_path / "images" / "train" / "README.md").write_text("notes")
    data = load("yolo_txt", tmp_path)
    assert [len(data.train), len(data.test)] == [6, 5]
    assert (data.test.labels[..., 4] >= 0).sum() == 5  # each has its box


def test_hidden_folders_are_skipped(tmp_path: Path, cache_home: Path) -> None:
    for part, count in (("train", 6), ("val", 3)):
        make(tmp_path / "images" / part, tmp_path / "labels" / part, count)
    for kind in ("images", "labels"):
        hidden = tmp_path / kind / "train" / ".ipynb_checkpoints"
        hidden.mkdir()
        for path in (tmp_path / kind / "train").iterdir():
            if path.is_file():
                shutil.copy(path, hidden / f"{path.stem}-checkpoint{path.suffix}")
    assert sizes(tmp_path) == (6, 0, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("train: images/train\nval: images/train\n", "train and val share the images of .*images/train"),
        ("train: images/train\nval: ./images/../images/train/\n", "train and val share the images"),
        ("train: images\nval: images/val\n", "train and val share the images of .*images/val"),
        ("train: images\n", "train and val share the images of .*images/val"),  # which is found beside it
        ("train: images/train\nval: images/val\ntest: [images/val]\n", "val and test share the images"),
        ("train: list.txt\nval: list.txt\n", "train and val share the images of .*list.txt"),
        ("train: link\nval: images/train\n", "train and val share the images of .*images/train"),
    ],
)
def test_parts_do_not_share_a_folder(content: str, says: str, tmp_path: Path, cache_home: Path) -> None:
    for part, count in (("train", 6), ("val", 3)):
        make(tmp_path / "images" / part, tmp_path / "labels" / part, count)
    (tmp_path / "link").symlink_to("images/train")
    (tmp_path / "list.txt").write_text("images/train/0.png\n")
    (tmp_path / "data.yaml").write_text(f"{content}names: [thing]\n")
    with pytest.raises(UserError, match=says):
        sizes(tmp_path)


@pytest.mark.parametrize("place", ["../../..", "..", "/", "images/../../..", "{}"])
def test_a_folder_that_contains_the_data_is_not_walked(place: str, tmp_path: Path, cache_home: Path) -> None:
    root = tmp_path / "a" / "b" / "c"
    make(root / "images" / "train", root / "labels" / "train", 3)
    (root / "data.yaml").write_text(f"train: {place.format(tmp_path)}\nval: images/train\nnames: [thing]\n")
    with pytest.raises(UserError, match=r"data\.yaml: train: .* is a folder that contains data\.root itself"):
        sizes(root)


def test_links_to_a_folder_above_are_not_followed(tmp_path: Path, cache_home: Path) -> None:
    root = tmp_path / "d"
    for part, count in (("train", 6), ("val", 3)):
        make(root / "images" / part, root / "labels" / part, count)
    for name, target in (("all", ".."), ("disk", "/"), ("root", "../..")):
        (root / "images" / "train" / name).symlink_to(target)
    assert sizes(root) == (6, 0, 3)


@pytest.mark.parametrize("path", ["5", "[a]", "{a: b}", "2001-01-01", "true"])
def test_the_path_in_data_yaml_is_a_text(path: str, tmp_path: Path, cache_home: Path) -> None:
    make(tmp_path / "images" / "train", tmp_path / "labels" / "train", 3)
    (tmp_path / "data.yaml").write_text(f"path: {path}\ntrain: images/train\nnames: [thing]\n")
    with pytest.raises(UserError, match=r"data\.yaml: path must be a folder, not "):
        sizes(tmp_path)


@pytest.mark.parametrize("value", ["x" * 5000, '"a\\0b"'])
def test_odd_paths_in_data_yaml_are_missing_ones(value: str, tmp_path: Path, cache_home: Path) -> None:
    make(tmp_path / "images" / "train", tmp_path / "labels" / "train", 3)
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: {value}\nnames: [thing]\n")
    with pytest.raises(UserError, match=r"data\.yaml: val: .* does not exist"):
        sizes(tmp_path)


def test_a_copy_is_not_read_from_the_absolute_path_of_the_original(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    for folder in (original, copy):
        for part in ("train", "val"):
            draw_pictures(folder / "images" / part, 4)
            (folder / "labels" / part).mkdir(parents=True)
            (folder / "labels" / part / "000.txt").write_text("0 0.5 0.5 0.4 0.4")
        (folder / "data.yaml").write_text(f"path: {original}\ntrain: images/train\nval: images/val\nnames: [a]\n")
    parts = find_parts(copy, {"path": str(original), "train": "images/train", "val": "images/val"})
    assert all(path.is_relative_to(copy) for part in parts.values() for path in part.texts)
