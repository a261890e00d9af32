"""COCO's JSON files with regions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.mask_set import MaskSet
from tests.box_files import photo
from tests.mask_files import counted, load, masks_of

pytestmark = pytest.mark.usefixtures("cache_home")

WIDTH, HEIGHT = 30, 20
Content = dict[str, Any]


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def area(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[y1:y2, x1:x2] = True
    return inside


def runs(inside: np.ndarray) -> list[int]:
    """The uncompressed RLE of a region, run by run."""
    counts, value = [0], False
    for pixel in inside.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def shape(inside: np.ndarray) -> dict[str, Any]:
    return {"counts": runs(inside), "size": [HEIGHT, WIDTH]}


def tree(
    root: Path, change: Callable[[Content], object] = lambda content: None, parts: tuple[str, ...] = ("train",)
) -> Path:
    """Two images to train on and one to test: polygons, an RLE, a crowd, and an image without regions."""
    for part, names in {"train": ["a", "b"], "val": ["c"]}.items():
        for name in names:
            photo(root / part / f"{name}.png", WIDTH, HEIGHT)
        images = [{"id": n, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for n, name in
                  enumerate(names)]  # fmt: skip
        crowd = {"iscrowd": 1, "segmentation": shape(area(0, 10, 30, 20))}
        regions: list[dict[str, Any]] = [
            {"category_id": 7, "segmentation": [rectangle(2, 3, 12, 9), rectangle(20, 3, 24, 9)]},
            {"category_id": 3, "segmentation": shape(area(8, 5, 18, 15))},
            {"category_id": 3, **crowd},
        ]
        annotations = [{"id": n, "image_id": 0} | region for n, region in enumerate(regions)]
        categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        if part in parts:
            change(content)
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(content, indent=0))
    return root


def coco(root: Path, **settings: Any) -> MaskSet:
    return load("coco_masks", root, **settings)


def test_regions_become_classes(tmp_path: Path) -> None:
    data = coco(tree(tmp_path / "d"))
    assert data.classes == ("background", "cat", "dog") and (len(data.train), len(data.test)) == (2, 1)
    dogs, cats = area(2, 3, 12, 9) | area(20, 3, 24, 9), area(8, 5, 18, 15)
    expected = np.where(area(0, 10, 30, 20), 255, 0).astype(np.uint8)
    expected[cats] = 1
    expected[dogs] = 2
    expected[cats & dogs] = 255
    first, second = masks_of(data.train)
    assert np.array_equal(first, expected) and not second.any()
    assert torch.equal(data.train.labels, counted(data.train, 3))
    on_top = coco(tmp_path / "d", overlap="smallest", merge=["cat+dog:pet"])
    expected[cats & dogs] = 1
    assert np.array_equal(masks_of(on_top.train)[0], np.where(expected == 2, 1, expected))
    # The dogs' regions are the smaller ones.
    assert (cats.sum(), dogs.sum()) == (100, 84)
    assert (masks_of(coco(tmp_path / "d", overlap="smallest").train)[0][cats & dogs] == 2).all()


def test_compressed_runs_are_those_of_the_list(tmp_path: Path) -> None:
    mask: Any = pytest.importorskip("pycocotools.mask")

    def compress(content: Content) -> None:
        for each in content["annotations"][1:]:
            plain = each["segmentation"]
            each["segmentation"] = plain | {"counts": mask.frPyObjects(plain, HEIGHT, WIDTH)["counts"].decode()}

    one, other = coco(tree(tmp_path / "list")), coco(tree(tmp_path / "text", compress))
    assert np.array_equal(masks_of(one.train)[0], masks_of(other.train)[0])


def test_a_category_called_background_is_the_background(tmp_path: Path) -> None:
    def rename(content: Content) -> None:
        content["categories"][1]["name"] = "background"

    assert coco(tree(tmp_path / "d", rename, ("train", "val"))).classes == ("background", "dog")


def test_detection_reads_the_same_files(tmp_path: Path) -> None:
    def add_boxes(content: Content) -> None:
        for each in content["annotations"]:
            each["bbox"] = [2, 3, 10, 6]

    root = tree(tmp_path / "d", add_boxes, ("train", "val"))
    boxes = DATASETS.build("coco_json", wiring={"cache": "none"}, root=str(root), image_size=32)
    assert boxes.classes == coco(root).classes[1:]


def set_region(value: Any) -> Callable[[Content], object]:
    return lambda content: content["annotations"][1].update(segmentation=value)


BAD = [
    (set_region(None), "no segmentation; for boxes alone use data=coco_json"),
    (set_region([]), "no segmentation"),
    (set_region("x"), "segmentation must be a list"),
    (set_region([1, 2, 3, 4, 5, 6]), r"a polygon must be a list \[x, y"),
    (set_region([[1, 2, 3, 4]]), "a polygon must be a list"),
    (set_region([[1, 2, 3, 4, 5, 6, 7]]), "a polygon must be a list"),
    (set_region([[1, 2, 3, 4, 5, "6"]]), "a polygon must have numbers"),
    (set_region([[1, 2, 3, 4, 5, 1e300]]), "a polygon must have numbers"),
    (set_region([[float("nan")] * 6]), "a polygon must have numbers"),
    (set_region([rectangle(90, 2, 99, 9)]), "lies outside its image of 30x20 pixels"),
    (set_region({"counts": [600], "size": [30, 20]}), r"the size of the RLE must be \[20, 30\]"),
    (set_region({"counts": [599], "size": [20, 30]}), "the runs of the RLE have 599 pixels, not 600"),
    (set_region({"counts": "PP", "size": [20, 30]}), "the compressed RLE is cut"),
    (set_region({"counts": [1.5], "size": [20, 30]}), "counts of the RLE must be a list of integers or a text"),
    (set_region({"size": [20, 30]}), "counts of the RLE must be"),
    (lambda content: content["annotations"][1].update(category_id=4), "unknown category_id 4"),
    (lambda content: content["annotations"][1].update(image_id=9), r"no image has the id 9"),
    (lambda content: content["images"][0].update(width=31), r"the annotated size is 31x20 pixels, but the image has"),
    (lambda content: content["images"][1].update(file_name="a.png"), "another image has the same file_name"),
    (lambda content: content["images"][1].update(file_name="x.png"), "image not found"),
]


@pytest.mark.parametrize(("change", "says"), BAD)
def test_bad_files_are_one_line_with_the_place(change: Callable[[Content], object], says: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "d", change)
    with pytest.raises(UserError, match=rf"instances_train.json, line \d+, (images|annotations) id \d: .*{says}"):
        coco(root)
    with pytest.warns(Note, match=r"^1 bad image\(s\) or mask\(s\) left out"):
        assert coco(root, on_bad="skip").skipped == 1
