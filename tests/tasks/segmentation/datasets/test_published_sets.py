"""VOC 2012's and Oxford's masks, in torchvision's layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import OxfordIIITPet, VOCSegmentation

from dlzoo.core.errors import UserError
from dlzoo.data.annotations.voc_devkit import CLASSES
from dlzoo.data.mask_set import MaskSet
from tests.box_files import photo
from tests.mask_files import counted, load, masks_of, pixels_of, save_grey, stripes, write

pytestmark = pytest.mark.usefixtures("cache_home")


def voc_colours() -> list[tuple[int, int, int]]:
    """The colour map of VOC's development kit: the bits of a number are the highest bits of its colours, in turn."""
    colours = []
    for number in range(256):
        rgb, rest = [0, 0, 0], number
        for bit in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        colours.append((rgb[0], rgb[1], rgb[2]))
    return colours


def save_voc(mask: np.ndarray, path: Path) -> None:
    image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    image.putpalette([value for rgb in voc_colours() for value in rgb])
    write(image, path)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    base = tmp_path / "voc" / "VOCdevkit" / "VOC2012"
    for part, names in {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}.items():
        (base / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
        (base / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
        for number, name in enumerate(names):
            photo(base / "JPEGImages" / f"{name}.jpg", 50 - 20 * number, 37)
            save_voc(stripes(50 - 20 * number, 37, 21, number), base / "SegmentationClass" / f"{name}.png")
    photo(base / "JPEGImages" / "2008_000001.jpg")  # most images of VOC have no mask
    return base


def test_voc_is_read_as_torchvision_reads_it(voc: Path) -> None:
    data = load("voc2012_seg", voc.parents[1])
    assert data.classes == ("background", *CLASSES) and data.crop == 50 and data.val is None
    assert list(data.colours) == voc_colours()[:21]
    for part, split in {"train": data.train, "val": data.test}.items():
        reference: Any = VOCSegmentation(voc.parents[1], year="2012", image_set=part)
        assert len(split) == len(reference)
        for number, (image, mask) in enumerate(reference):
            assert np.array_equal(pixels_of(split, number), np.asarray(image))
            assert np.array_equal(masks_of(split)[number], np.asarray(mask))
        assert torch.equal(split.labels, counted(split, 21))


@pytest.mark.parametrize("up", [0, 1, 2])
def test_voc_is_found_in_its_devkit_beside_it_and_by_itself(voc: Path, up: int) -> None:
    assert load("voc2012_seg", [voc, *voc.parents][up], crop=16).crop == 16


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda base: (base / "SegmentationClass/2007_000039.png").unlink(), "train.txt, line 2: mask not found"),
        (lambda base: (base / "JPEGImages/2007_000039.jpg").unlink(), "2007_000039.png: image not found"),
        (lambda base: (base / "ImageSets/Segmentation/val.txt").unlink(), "val.txt: cannot be read .*download=true"),
        (lambda base: (base / "ImageSets/Segmentation/val.txt").write_text(""), "val.txt: the list is empty"),
        (lambda base: save_grey(np.full((37, 30), 21, np.uint8), base / "SegmentationClass/2007_000039.png"),
         r"2007_000039.png: value 21 is outside the 21 classes of VOC; the mask has 21 \(100.0 %\)"),
        (lambda base: save_voc(stripes(31, 37, 3), base / "SegmentationClass/2007_000039.png"),
         "the mask has 31x37 pixels, but the image .* has 30x37"),
    ],
)  # fmt: skip
def test_bad_voc(voc: Path, change: Any, says: str) -> None:
    change(voc)
    with pytest.raises(UserError, match=says):
        load("voc2012_seg", voc.parents[1])


def test_downloads_what_is_missing(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []

    def fetch(root: Path, **settings: Any) -> None:
        calls.append((settings["year"], settings["image_set"]))

    monkeypatch.setattr("dlzoo.tasks.segmentation.datasets.voc2012_seg.VOCSegmentation", fetch)
    load("voc2012_seg", voc.parents[1], download=True)
    assert calls == []
    (voc / "SegmentationClass/2007_000033.png").unlink()
    with pytest.raises(UserError, match="mask not found"):
        load("voc2012_seg", voc.parents[1], download=True)
    assert calls == [("2012", "val")]


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    base = tmp_path / "pets" / "oxford-iiit-pet"
    parts = {"trainval": ["Abyssinian_100", "beagle_1", "boxer_2"], "test": ["pug_7"]}
    for part, names in parts.items():
        (base / "annotations" / "trimaps").mkdir(parents=True, exist_ok=True)
        (base / "annotations" / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
        for number, name in enumerate(names):
            photo(base / "images" / f"{name}.jpg", 40 + number, 30)
            trimap = np.ascontiguousarray(stripes(40 + number, 30, 3, number) % 3 + 1)
            save_grey(trimap, base / "annotations" / "trimaps" / f"{name}.png")
            (base / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"x")  # as in the archive
    return base


def test_pets_are_read_as_torchvision_reads_them(pets: Path) -> None:
    data: MaskSet = load("oxford_pets", pets.parent, image_size=None)
    assert data.classes == ("background", "pet")
    for part, split in {"trainval": data.train, "test": data.test}.items():
        reference: Any = OxfordIIITPet(pets.parent, part, target_types="segmentation")
        assert len(split) == len(reference)
        for number, (image, trimap) in enumerate(reference):
            expected = np.array([9, 1, 0, 255], np.uint8)[np.asarray(trimap)]
            assert np.array_equal(masks_of(split)[number], expected)
            assert np.array_equal(pixels_of(split, number), np.asarray(image))
        assert torch.equal(split.labels, counted(split, 2))
    both = load("oxford_pets", pets.parent, border="class")
    assert both.classes == ("background", "pet", "border") and both.train.images.shape[1] == 256
    assert (both.train.labels.sum(0) > 0).all()


def test_bad_pets(pets: Path) -> None:
    with pytest.raises(UserError, match=r"no oxford-iiit-pet in .*; set data.download=true"):
        load("oxford_pets", pets)
    save_grey(np.full((30, 40), 4, np.uint8), pets / "annotations/trimaps/pug_7.png")
    with pytest.raises(
        UserError, match=r"pug_7.png: value 4 is outside the 2 classes of the trimaps; .* 4 \(100.0 %\)"
    ):
        load("oxford_pets", pets.parent)
    (pets / "annotations/trimaps/pug_7.png").unlink()
    with pytest.raises(UserError, match=r"test.txt, line 1: trimap not found"):
        load("oxford_pets", pets.parent)
    (pets / "annotations/test.txt").write_text("pug_7 1 1 1\npug_7 1 1 1\n")
    with pytest.raises(UserError, match=r"test.txt, line 2: 'pug_7' is listed twice"):
        load("oxford_pets", pets.parent)
