"""Data sets of images with objects that are given as objects of Python: dictionaries of boxes and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.tv_tensors import BoundingBoxes

import dlzoo
from dlzoo.boxes.objects import objects
from dlzoo.cli import main
from dlzoo.core.given import Given, giving
from dlzoo.core.registries import DATASETS
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.runs.run_dir import RunDir
from tests.small import TINY, last_of_each, logged, same, train, weights

#: As TINY, without its data.
FAST = [word for word in TINY if word not in ("data=shapes", "data.train=24", "data.test=8", "data.image_size=64")]


class Boxed(Dataset):
    """The images of a split and their objects, as torchvision's detectors take them; read number `fails_at` raises."""

    def __init__(self, split: Split, classes: tuple[str, ...]) -> None:
        self.split, self.classes, self.reads = split, list(classes), 0
        self.fails_at: int | None = None

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        self.reads += 1
        if self.reads == self.fails_at:
            raise OSError("the disk is gone")
        found = objects(self.split.labels[index])
        boxes = BoundingBoxes(found.boxes[found.there], format="XYXY", canvas_size=(64, 64))  # pyright: ignore
        target = {"boxes": boxes, "labels": found.classes[found.there], "image_id": index}
        assert isinstance(self.split.images, Tensor)
        return self.split.images[index].permute(2, 0, 1), target


@pytest.fixture(scope="module", autouse=True)
def _no_plots() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlzoo.builder.results.draw", lambda *made: {})
        yield


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dlzoo.Run:
    return train(*TINY, "augment=flip", f"run_dir={tmp_path_factory.mktemp('own') / 'r'}")


def pair(run: dlzoo.Run) -> tuple[Boxed, Boxed]:
    source = Splits.load(run.config["data"]).source
    return Boxed(source.train, source.classes), Boxed(source.test, source.classes)


def given(*words: str, **objects: Any) -> dlzoo.Run:
    return dlzoo.train(last_of_each([*FAST, "augment=flip", *words]), quiet=True, **objects)


@pytest.fixture(scope="module")
def undisturbed(own: dlzoo.Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dlzoo.Run, int]:
    """A run on given data, and how often an item of its training data was read."""
    data = pair(own)
    return given(f"run_dir={tmp_path_factory.mktemp('given') / 'r'}", data=data), data[0].reads


def test_a_detector_on_given_data_is_our_own_pipeline(own: dlzoo.Run, undisturbed: tuple[dlzoo.Run, int]) -> None:
    run, _ = undisturbed
    assert same(weights(own), weights(run))
    assert own.metrics == run.metrics
    assert logged(own.dir) == logged(run.dir)
    assert run.record["classes"] == own.record["classes"]
    assert run.evaluate(data=pair(own)) == own.evaluate()
    assert len(json.loads((run.dir / "eval/detections.json").read_text())) == 8
    image = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    (found,), (expected,) = run.predict(image), own.predict(image)
    assert found.as_dict() == expected.as_dict()
    assert run.config["model"]["name"] == "yolo_tiny"
    assert main(["report", str(run.dir)]) == 0


def test_a_resumed_run_equals_an_uninterrupted_one(own: dlzoo.Run, undisturbed: tuple[dlzoo.Run, int]) -> None:
    data = pair(own)
    data[0].fails_at = undisturbed[1] - 10
    with pytest.raises(dlzoo.UserError, match="the disk is gone"):
        given("run_dir=broken", "trainer.checkpoint_every=1", data=data)
    assert RunDir(Path("broken")).resume_checkpoint() is not None
    resumed = dlzoo.train(["resume=broken"], data=pair(own), quiet=True)
    assert same(weights(own), weights(resumed))
    assert own.metrics == resumed.metrics


class Files(Dataset):
    """Images of several sizes, with the objects of a file in COCO's format."""

    def __init__(self, root: Path, part: str) -> None:
        self.root, self.content = root / part, json.loads((root / f"{part}.json").read_text())
        self.classes = [each["name"] for each in self.content["categories"]]

    def __len__(self) -> int:
        return len(self.content["images"])

    def __getitem__(self, index: int) -> tuple[Image.Image, dict[str, Any]]:
        about = self.content["images"][index]
        mine = [each for each in self.content["annotations"] if each["image_id"] == about["id"]]
        boxes = [[x, y, x + width, y + height] for x, y, width, height in (each["bbox"] for each in mine)]
        labels = [each["category_id"] - 1 for each in mine]
        crowd = np.array([each["iscrowd"] for each in mine])
        return Image.open(self.root / about["file_name"]), {"boxes": boxes, "labels": labels, "iscrowd": crowd}


def write_coco(root: Path, part: str, count: int) -> None:
    """Images of noise with a bright square in each, of two classes; the first one has no object."""
    numbers = np.random.default_rng(count)
    images, annotations = [], []
    (root / part).mkdir(parents=True)
    for place in range(count):
        width, height, x, y = 40 + place, 30 + 2 * place, 3 + place, 5
        pixels = numbers.integers(0, 99, (height, width, 3), np.uint8)
        pixels[y : y + 12, x : x + 10] = 200
        Image.fromarray(pixels).save(root / part / f"{place:03}.png")
        images.append({"id": place, "file_name": f"{place:03}.png", "width": width, "height": height})
        if place:
            annotations.append({"id": place, "image_id": place, "category_id": 1 + place % 2, "bbox": [x, y, 10, 12],
                                "area": 120, "iscrowd": int(place == 3)})  # fmt: skip
    content = {"images": images, "annotations": annotations,
               "categories": [{"id": 1, "name": "odd"}, {"id": 2, "name": "even"}]}  # fmt: skip
    (root / f"{part}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_images_of_any_size_are_resized_as_those_of_files(fit: str, tmp_path: Path, cache_home: Path) -> None:
    for part, count in (("train", 8), ("test", 6)):
        write_coco(tmp_path, part, count)
    with giving(Given(data=(Files(tmp_path, "train"), Files(tmp_path, "test")))):
        data = DATASETS.build("given_objects", image_size=32, fit=fit)
    (tmp_path / "annotations").mkdir()
    for part in ("train", "test"):
        (tmp_path / f"{part}.json").rename(tmp_path / "annotations" / f"{part}.json")
    files = DATASETS.build("coco_json", wiring={"cache": "none"}, root=str(tmp_path), image_size=32, fit=fit)
    for ours, theirs in ((data.train, files.train), (data.test, files.test)):
        assert torch.equal(ours.images[:], theirs.images[:])
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.sizes, theirs.sizes)
    assert (data.classes, data.facts()["fit"]) == (files.classes, fit)


class Single(Dataset):
    """Images with one object each, but for one item."""

    def __init__(self, item: Any = None, place: int = 5, label: int = 0) -> None:
        self.item, self.place, self.label = item, place, label

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        if self.item is not None and index == self.place:
            return self.item
        image = torch.full((3, 32, 32), index, dtype=torch.uint8)
        return image, {"boxes": torch.tensor([[2.0, 2, 20, 20]]), "labels": torch.tensor([self.label])}


class Floats(Single):
    """The same images as float tensors."""

    def __getitem__(self, index: int) -> Any:
        image, target = super().__getitem__(index)
        return image / 255, target


IMAGE = torch.zeros(3, 32, 32, dtype=torch.uint8)


def boxed(*box: float, label: Any = 0) -> tuple[Tensor, dict[str, Any]]:
    return IMAGE, {"boxes": [box], "labels": [label]}


WRONG: dict[str, tuple[Any, str]] = {
    "no labels": (
        (IMAGE, {"boxes": [[1, 1, 2, 2]]}),
        r"item 5 of the training data: the target has no 'labels'; it mu",
    ),
    "no boxes": ((IMAGE, {"labels": [0]}), "the target has no 'boxes'"),
    "other numbers": ((IMAGE, {"boxes": [[1, 1, 2, 2]], "labels": [0, 1]}), r"boxes \(1, 4\) and labels \(2,\) do not"),
    "three corners": (boxed(1, 1, 2), r"boxes \(1, 3\) and labels"),
    "words": ((IMAGE, {"boxes": "none", "labels": [0]}), "boxes is a str; the target must be"),
    "no area": (boxed(5, 5, 5, 9), r"the box \(5, 5, 5, 9\) has no area; boxes are x1, y1, x2, y2"),
    "outside": (boxed(5, 5, 40, 9), r"the box \(5, 5, 40, 9\) leaves its image of 32 x 32 pixels"),
    "not finite": (boxed(5, 5, float("nan"), 9), "is not finite"),
    "a negative label": (boxed(1, 1, 9, 9, label=-1), "the label -1 is not a class"),
    "a fraction": (boxed(1, 1, 9, 9, label=0.5), r"the label 0\.5 is not a class"),
    "a class": ((IMAGE, 3), "item 5 of the training data: the target is 3, not a dictionary with boxes and labels"),
    "not square": (
        (IMAGE[:, :9], {"boxes": [], "labels": []}),
        r"is 3 x 9 x 32 .* not square; images must be square and of one size; set data\.image",
    ),
    "another format": (
        (IMAGE, {"boxes": BoundingBoxes([[1, 1, 9, 9]], format="XYWH", canvas_size=(32, 32)), "labels": [0]}),  # pyright: ignore
        "the boxes have the format XYWH; convert them to XYXY",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_odd_item_is_one_line_that_names_it(case: str) -> None:
    item, says = WRONG[case]
    with pytest.raises(dlzoo.UserError, match=says) as raised:
        given("data.batch_size=4", data=(Single(item), Single()))
    assert str(raised.value).startswith("item 5 of the training data")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "make", "says"),
    [
        (
            [],
            lambda: (Single(), Single(boxed(1, 1, 9, 9, label=2), label=1)),
            r"item 0 of the test data: a label is 1, but the training data has 1 cl",
        ),
        (
            ["model=resnet20"],
            lambda: (Single(), Single()),
            r"model=resnet20 is for classes.*has objects; choose model=",
        ),
        (
            ["data.image_size=32", "augment=none"],
            lambda: (Floats(), Floats()),
            "item 0 of the training data is a float tensor, but data.im",
        ),
        (["augment=flip", "data.workers=-1"], lambda: (Single(), Single()), r"data\.workers"),
    ],
)
def test_a_wrong_use_is_one_line(words: list[str], make: Callable[[], Any], says: str) -> None:
    with pytest.raises(dlzoo.UserError, match=says):
        given("data.batch_size=4", *words, data=make())


def test_labels_that_count_from_one_are_noted() -> None:
    with giving(Given(data=(Single(label=1), Single(label=1)))):
        data = DATASETS.build("given_objects")
    assert data.classes == ("0", "1")
    (note,) = data.notes()
    assert "no object of the training data has the label 0" in note
