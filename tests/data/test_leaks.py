"""The same picture in two parts or more than once in one, and boxes that are there twice: in every format."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.settings import DataSettings
from dlzoo.data.splits import Splits
from tests.box_files import photo

pytestmark = pytest.mark.usefixtures("cache_home")

#: Part -> the numbers of its pictures; pictures of one number are equal.
Parts = dict[str, list[int]]
BOXES = [(1, 2, 11, 12), (3, 4, 20, 18)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    for number in range(24):
        photo(folder / f"{number}.png")
    return folder


def image_folder(root: Path, parts: Parts, sources: Path, boxes: list) -> dict[str, Any]:
    for part, numbers in parts.items():
        for place, number in enumerate(numbers):
            path = root / part / f"class{number % 2}" / f"{place:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sources / f"{number}.png", path)
    return {"root": str(root), "image_size": 16}


def coco_json(root: Path, parts: Parts, sources: Path, boxes: list) -> dict[str, Any]:
    shutil.copytree(sources, root / "images")
    (root / "annotations").mkdir()
    for part, numbers in parts.items():
        images = [{"id": place, "file_name": f"{number}.png"} for place, number in enumerate(numbers)]
        annotations = [
            {"image_id": place, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for place in range(len(numbers))
            for x1, y1, x2, y2 in boxes
        ]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
        (root / "annotations" / f"{part}.json").write_text(json.dumps(content, indent=0))
    return {"root": str(root), "image_size": 32}


def yolo_txt(root: Path, parts: Parts, sources: Path, boxes: list) -> dict[str, Any]:
    lines = [f"0 {(x1 + x2) / 60} {(y1 + y2) / 40} {(x2 - x1) / 30} {(y2 - y1) / 20}" for x1, y1, x2, y2 in boxes]
    for part, numbers in parts.items():
        for place, number in enumerate(numbers):
            image, text = (root / kind / part / f"{place:03}" for kind in ("images", "labels"))
            for path in (image, text):
                path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sources / f"{number}.png", f"{image}.png")
            Path(f"{text}.txt").write_text("\n".join(lines))
    return {"root": str(root), "image_size": 32}


def voc2007(root: Path, parts: Parts, sources: Path, boxes: list) -> dict[str, Any]:
    base = root / "VOC2007"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (base / name).mkdir(parents=True)
    box = "".join(
        f"<object><name>cat</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for x1, y1, x2, y2 in boxes
    )
    size = "<size><width>30</width><height>20</height></size>"
    for part, name in (("train", "trainval"), ("test", "test")):
        listed = [f"{part}{place}" if parts[part].count(number) > 1 else str(number)
                  for place, number in enumerate(parts[part])]  # fmt: skip
        for number, picture in zip(parts[part], listed, strict=True):
            shutil.copy(sources / f"{number}.png", base / "JPEGImages" / f"{picture}.jpg")
            (base / "Annotations" / f"{picture}.xml").write_text(f"<annotation>{size}{box}</annotation>")
        (base / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(listed))
    return {"root": str(root), "image_size": 32}


FORMATS: dict[str, Callable[..., dict[str, Any]]] = {
    each.__name__: each for each in (image_folder, coco_json, yolo_txt, voc2007)
}
GOOD: Parts = {"train": list(range(12)), "test": list(range(12, 18))}
WITH_VAL = GOOD | {"val": list(range(18, 22))}
#: What is there, what is said, and the sizes of train, val and test without copies.
LEAKY: dict[str, tuple[Parts, str, tuple[int, int, int]]] = {
    "two": (
        GOOD | {"train": list(range(15))},
        r"^3 files \(such as \S+ and \S+\) are in train and in test; ",
        (12, 0, 6),
    ),
    "one": (GOOD | {"train": list(range(13))}, r"^1 file \(\S+\) is in train and in test; ", (12, 0, 6)),
    "twice": (
        GOOD | {"train": [*range(12), *range(10)]},
        r"^10 files .* are more than once in train; ",
        (12, 0, 6),
    ),
    "thrice": (GOOD | {"test": [12, 13, 12, 13, 12]}, r"^2 files \(.*\) are more than once in test; ", (12, 0, 2)),
    "a list": (GOOD | {"train": [*range(6), *range(12, 18)]}, r"^6 files .* are in train and in test", (6, 0, 6)),
    "val": (WITH_VAL | {"val": [0, 1, 18]}, r"^2 files \(.*\) are in train and in val; ", (10, 3, 6)),
    "both": (
        WITH_VAL | {"val": [0, 12, 18], "train": [*range(13), 5]},
        "is in val and in test; .* is in train and in val; .* is in train and in test; .* is more than once in train",
        (11, 2, 6),
    ),
    "val is test": ({"train": list(range(12)), "val": [3, 4, 20]}, "^2 files .* are in train and in test", (10, 0, 3)),
}


def combinations() -> Iterator[tuple[str, str]]:
    for name in FORMATS:
        for what, (parts, *_) in LEAKY.items():
            if name != "voc2007" or set(parts) == {"train", "test"}:
                yield name, what


def load(name: str, settings: dict[str, Any]) -> Any:
    return DATASETS.build(name, wiring={"cache": "none"}, **settings)


def sizes(data: Any) -> tuple[int, int, int]:
    return len(data.train), 0 if data.val is None else len(data.val), len(data.test)


@pytest.mark.parametrize(("name", "what"), combinations())
def test_copies_are_reported_refused_or_left_out(name: str, what: str, tmp_path: Path, sources: Path) -> None:
    parts, says, without = LEAKY[what]
    settings = FORMATS[name](tmp_path / "set", parts, sources, BOXES)
    with pytest.warns(Note, match=says + ".*set data.leaks=drop") as noted:
        data = load(name, settings)
    assert len(noted) == 1 and "\n" not in str(noted[0].message)
    assert sum(sizes(data)) == sum(map(len, parts.values()))
    with pytest.raises(UserError, match=says.replace("^", "^data.leaks=error: ")):
        load(name, settings | {"leaks": "error"})
    with pytest.warns(Note, match=says + ".*left out"):
        assert sizes(load(name, settings | {"leaks": "drop"})) == without


@pytest.mark.parametrize("leaks", ["warn", "error", "drop"])
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_said_of_sets_without_copies(name: str, leaks: str, tmp_path: Path, sources: Path) -> None:
    settings = FORMATS[name](tmp_path / "set", GOOD, sources, BOXES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sizes(load(name, settings | {"leaks": leaks})) == (12, 0, 6)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "image_folder"])
@pytest.mark.parametrize("times", [2, 3])
def test_boxes_that_are_there_twice(name: str, times: int, tmp_path: Path, sources: Path) -> None:
    parts = {"train": [1, 2, 3], "test": [4, 5]}
    settings = FORMATS[name](tmp_path / "set", parts, sources, [*BOXES, *BOXES[:1] * (times - 1)])
    says = rf"^{5 * (times - 1)} boxes \(such as .*, .* and .*\) are duplicated; "
    with pytest.warns(Note, match=says):
        assert load(name, settings).train.labels.shape == (3, 1 + times, 6)
    with pytest.raises(UserError, match=says.replace("^", "^data.leaks=error: ")):
        load(name, settings | {"leaks": "error"})
    with pytest.warns(Note, match=says):
        assert load(name, settings | {"leaks": "drop"}).train.labels.shape == (3, 2, 6)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_left_in_a_part_is_one_line(name: str, tmp_path: Path, sources: Path) -> None:
    settings = FORMATS[name](tmp_path / "set", {"train": [1, 2], "test": [1, 2, 3]}, sources, BOXES)
    with (
        pytest.warns(Note, match="2 files .* are in train and in test"),
        pytest.raises(UserError, match=r"^data\.leaks=drop leaves no image in train"),
    ):
        load(name, settings | {"leaks": "drop"})


def pets(root: Path, files: dict[str, int]) -> dict[str, Any]:
    """Images of one colour each: path -> its number."""
    for name, number in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), (10 * number, 0, 0)).save(root / name)
    return {"root": str(root), "image_size": 12}


PETS = {f"{part}/{name}/{number}.png": 6 * place + number + 12 * (part == "test")
        for part in ("train", "test") for place, name in enumerate(("cat", "dog")) for number in range(6)}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "says", "without"),
    [
        (
            {"train/dog/0.png": 1},
            r"^1 image has contradictory labels \(train/cat/1\.png and train/dog/0\.png are the same file\): remove",
            (10, 0, 12),
        ),
        (
            {"test/dog/0.png": 12, "test/dog/1.png": 13, "test/dog/2.png": 13},
            r"^2 images have contradictory labels \(such as test/cat/0\.png and test/dog/0\.png, which are the",
            (12, 0, 7),
        ),
        (
            {"train/dog/0.png": 1, "train/dog/1.png": 2, "test/cat/0.png": 1, "train/dog/4.png": 11},
            r"^2 images have contra.* 1 file \(\S+\) is in train and in test; 1 file .* is more than once in train",
            (7, 0, 12),
        ),
    ],
)
def test_an_image_in_two_classes_is_a_contradiction(changed: dict, says: str, without: tuple, tmp_path: Path) -> None:
    settings = pets(tmp_path / "d", PETS | changed)
    with pytest.warns(Note, match=says) as noted:
        assert sum(sizes(load("image_folder", settings))) == 24
    assert len(noted) == 1 and (len(changed) > 3 or "more than once" not in str(noted[0].message))
    with pytest.raises(UserError, match=says.replace("^", "^data.leaks=error: ")):
        load("image_folder", settings | {"leaks": "error"})
    with pytest.warns(Note, match=says):  # which of them is right is unknown
        assert sizes(load("image_folder", settings | {"leaks": "drop"})) == without


def test_a_class_without_training_images_is_refused(tmp_path: Path) -> None:
    settings = {"name": "image_folder", "leaks": "drop"}
    settings |= pets(tmp_path / "d", PETS | {f"train/dog/{number}.png": 18 + number for number in range(6)})
    with (
        pytest.warns(Note, match="in train and in test"),
        pytest.raises(UserError, match="leaves no training image of dog"),
    ):
        Splits.load(settings | vars(DataSettings(batch_size=4)))
