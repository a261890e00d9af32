"""Folders of images with masks: layouts, kinds of masks, classes that are merged or ignored, and bad ones."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dlzoo.core.errors import Note, UserError
from dlzoo.data.mask_set import MaskSet
from dlzoo.data.settings import DataSettings
from dlzoo.data.splits import Splits
from tests.box_files import photo
from tests.mask_files import (
    COLOURS,
    counted,
    load,
    mask_tree,
    masks_of,
    pixels_of,
    save_colours,
    save_grey,
    save_palette,
    stripes,
    write,
)

pytestmark = pytest.mark.usefixtures("cache_home")

PARTS = {"train": 5, "val": 2, "test": 3}
NAMES = ["sky", "car", "bus", "road"]
TABLE = "".join(f"{name} {' '.join(map(str, rgb))}\n" for name, rgb in zip(NAMES, COLOURS))  # noqa: B905


def folder(root: Path, **settings: Any) -> MaskSet:
    return load("mask_folder", root, **settings)


@pytest.mark.parametrize("places", [("{}/images", "{}/masks"), ("images/{}", "masks/{}"), ("{}/imgs", "{}/labels")])
def test_layouts_with_parts(places: tuple[str, str], tmp_path: Path) -> None:
    masks = mask_tree(tmp_path / "d", PARTS, places)
    data = folder(tmp_path / "d")
    assert data.classes == ("background", "class 1", "class 2") and data.val is not None
    for part, split in {"train": data.train, "val": data.val, "test": data.test}.items():
        assert all(map(np.array_equal, masks_of(split), masks[part])) and len(split) == len(masks[part])
        assert torch.equal(split.labels, counted(split, 3))
        for number in range(len(split)):
            path = tmp_path / "d" / places[0].format(part) / f"{part}{number:02}.png"
            assert np.array_equal(pixels_of(split, number), np.asarray(Image.open(path)))


def test_without_test_val_is_the_test_split_and_without_both_a_fifth_is(tmp_path: Path) -> None:
    mask_tree(tmp_path / "two", {"train": 4, "valid": 3})
    data = folder(tmp_path / "two")
    assert data.val is None and (len(data.train), len(data.test)) == (4, 3)
    mask_tree(tmp_path / "one", {"x": 10}, ("images", "masks"))
    data = folder(tmp_path / "one")
    assert data.val is None and (len(data.train), len(data.test)) == (8, 2)


def test_the_canvas_is_the_longest_side_of_a_part(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", {"train": 1, "test": 3})
    photo(tmp_path / "d/test/images/wide.png", 70, 9)
    save_grey(stripes(70, 9, 3), tmp_path / "d/test/masks/wide.png")
    data = folder(tmp_path / "d")
    assert data.train.images.shape == (1, 30, 30, 4) and data.test.images.shape == (4, 70, 70, 4)
    assert data.train.sizes is not None and data.train.sizes.tolist() == [[30, 20]]
    assert (data.train.images[:][0, 20:, :, :3] == 128).all()


@pytest.mark.parametrize("image_size", [16, 64])
def test_resizing_is_bilinear_for_images_and_nearest_for_masks(image_size: int, tmp_path: Path) -> None:
    masks = mask_tree(tmp_path / "d", {"train": 5, "test": 1})
    data = folder(tmp_path / "d", image_size=image_size)
    assert data.train.images.shape == (5, image_size, image_size, 4)
    assert torch.equal(data.train.labels, counted(data.train, 3))
    for number, (found, mask) in enumerate(zip(masks_of(data.train), masks["train"], strict=True)):
        scale = image_size / max(mask.shape)
        size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
        reference = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
        assert np.array_equal(found, np.asarray(reference))
        image = Image.open(tmp_path / f"d/train/images/train{number:02}.png").resize(size, Image.Resampling.BILINEAR)
        assert np.array_equal(pixels_of(data.train, number), np.asarray(image))


def test_kinds_of_masks_are_read_as_the_same_classes(tmp_path: Path) -> None:
    (tmp_path / "colours.txt").write_text(TABLE + "edge 255 255 255\n# a remark\n\n")
    expected = mask_tree(tmp_path / "grey", {"train": 4, "test": 2}, classes=4)["train"]
    assert folder(tmp_path / "grey").colours == ()
    mask_tree(tmp_path / "palette", {"train": 4, "test": 2}, classes=4, save=save_palette)
    by_palette = folder(tmp_path / "palette")
    assert by_palette.colours == tuple(COLOURS)
    mask_tree(tmp_path / "rgb", {"train": 4, "test": 2}, classes=4, save=save_colours)
    by_colour = folder(tmp_path / "rgb", colours=str(tmp_path / "colours.txt"), ignore=["edge"])
    assert by_colour.classes == ("sky", "car", "bus", "road") and by_colour.colours == tuple(COLOURS)
    for data in (folder(tmp_path / "grey"), by_palette, by_colour):
        assert all(map(np.array_equal, masks_of(data.train), expected))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "LA"])
def test_grey_masks_in_other_modes(mode: str, tmp_path: Path) -> None:
    def save(mask: np.ndarray, path: Path) -> None:
        image = Image.fromarray(mask.astype(np.uint16)) if mode == "I;16" else Image.fromarray(mask).convert(mode)
        assert image.mode == mode
        write(image, path)

    expected = mask_tree(tmp_path / "d", {"train": 3, "test": 1}, save=save)["train"]
    assert all(map(np.array_equal, masks_of(folder(tmp_path / "d").train), expected))


def test_masks_of_black_and_white_are_two_classes(tmp_path: Path) -> None:
    def save(mask: np.ndarray, path: Path) -> None:
        write(Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8)), path)

    def save_bits(mask: np.ndarray, path: Path) -> None:
        write(Image.fromarray(mask == 1), path)

    mask_tree(tmp_path / "grey", {"train": 3, "test": 1}, classes=2, save=save)
    data = folder(tmp_path / "grey")
    assert data.classes == ("background", "class 1")
    assert len(data.notes()) == 1 and "255 is read as 'class 1'" in data.notes()[0]
    (tmp_path / "names.txt").write_text("nothing\nroad\n")
    named = folder(tmp_path / "grey", classes=str(tmp_path / "names.txt"))
    assert named.classes == ("nothing", "road") and torch.equal(named.train.labels, data.train.labels)
    mask_tree(tmp_path / "bits", {"train": 3, "test": 1}, classes=2, save=save_bits)
    bits = folder(tmp_path / "bits")
    assert bits.notes() == [] and torch.equal(bits.train.labels, data.train.labels)
    assert all(set(np.unique(mask)) == {0, 1} for mask in masks_of(data.train))
    # Explicitly ignored, 255 is no class, and nothing but the background is left.
    with pytest.raises(UserError, match=r"1 class\(es\) of pixels; 2 to 255 are needed"):
        folder(tmp_path / "grey", ignore=[255])


def test_classes_are_ignored_and_merged(tmp_path: Path) -> None:
    masks = mask_tree(tmp_path / "d", {"train": 5, "test": 2}, classes=4, save=save_palette)["train"]
    (tmp_path / "d/classes.txt").write_text("sky\ncar\nbus\nroad\n")
    data = folder(tmp_path / "d", ignore=["sky"], merge=["car+road: thing"])
    assert data.classes == ("thing", "bus") and data.colours == (COLOURS[1], COLOURS[2])
    new = np.full(256, 255, np.uint8)
    new[[1, 3, 2]] = 0, 0, 1
    assert all(np.array_equal(found, new[mask]) for found, mask in zip(masks_of(data.train), masks, strict=True))
    assert torch.equal(data.train.labels, counted(data.train, 2))
    assert folder(tmp_path / "d", ignore=[0, 3]).classes == ("car", "bus")
    (tmp_path / "d/classes.txt").unlink()
    assert folder(tmp_path / "d", ignore=["class 3"], merge=["background+class 1:rest"]).classes == ("rest", "class 2")


def test_values_beyond_the_names_can_be_ignored(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", {"train": 4, "test": 2}, classes=4)
    (tmp_path / "d/classes.txt").write_text("sky\ncar\nbus\n")
    with pytest.raises(
        UserError, match=r"train00.png: value 3 is outside the 3 classes of .*classes.txt; the mask has"
    ):
        folder(tmp_path / "d")
    data = folder(tmp_path / "d", ignore=[3])
    assert data.classes == ("sky", "car", "bus")
    assert set(np.unique(np.concatenate([mask.ravel() for mask in masks_of(data.train)]))) == {0, 1, 2, 255}


def test_an_image_is_turned_as_its_exif_says_unless_the_mask_is_as_stored(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", {"train": 1, "test": 1})
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    for name, (width, height) in {"turned": (20, 30), "stored": (30, 20)}.items():
        photo(tmp_path / f"d/train/images/{name}.jpg", 30, 20, exif=exif)
        save_grey(stripes(width, height, 3), tmp_path / f"d/train/masks/{name}.png")
    data = folder(tmp_path / "d")
    assert data.train.sizes is not None
    # In the order of names: stored, train00, turned.
    assert data.train.sizes.tolist() == [[30, 20], [30, 20], [20, 30]]
    stored = np.asarray(Image.open(tmp_path / "d/train/images/turned.jpg"))
    assert np.array_equal(pixels_of(data.train, 2), np.rot90(stored, -1))
    assert np.array_equal(masks_of(data.train)[2], stripes(20, 30, 3))


def test_caches_give_the_same_and_see_a_changed_mask(tmp_path: Path, cache_home: Path) -> None:
    mask_tree(tmp_path / "d", PARTS)

    def splits(cache: str) -> Splits:
        section = vars(DataSettings()) | {"name": "mask_folder", "root": str(tmp_path / "d"), "cache": cache}
        return Splits.load(section | {"batch_size": 2})

    loaded = {cache: splits(cache) for cache in ("none", "disk", "memory")}
    assert len({data.fingerprint for data in loaded.values()}) == 1
    assert len(list((cache_home / "dlzoo/images").glob("*.npy"))) == 3
    for part in ("train", "val", "test"):
        images = [getattr(data, part).images[:] for data in loaded.values()]
        assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
    before = loaded["disk"].train.labels
    save_grey(np.ones((20, 30), np.uint8), tmp_path / "d/train/masks/train00.png")
    after = splits("disk").train
    assert after.labels[0].tolist() == [0, 600, 0] and torch.equal(after.labels[1:], before[1:])
    assert (after.images[:1][0, :20, :30, 3] == 1).all()
    assert len(list((cache_home / "dlzoo/images").glob("*.npy"))) == 3


def test_masks_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask_tree(tmp_path / "d", PARTS)
    folder(tmp_path / "d", cache="disk")

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a mask is read again")

    monkeypatch.setattr("dlzoo.tasks.segmentation.datasets.mask_layout.read_mask", fail)
    assert len(folder(tmp_path / "d", cache="disk").train.images[:]) == 5


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_bad_pairs_are_left_out(cache: str, tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", PARTS)
    photo(tmp_path / "d/train/images/alone.png")
    save_grey(stripes(30, 20, 3), tmp_path / "d/train/masks/other.png")
    photo(tmp_path / "d/test/images/size.png", 30, 21)
    save_grey(stripes(30, 20, 3), tmp_path / "d/test/masks/size.png")
    (tmp_path / "d/train/images/train01.png").write_bytes(b"no image")
    whole = tmp_path / "d/train/images/train02.png"
    whole.write_bytes(whole.read_bytes()[:-80])
    with pytest.warns(Note, match=r"^5 bad image\(s\) or mask\(s\) left out, the first: .*no mask of this name"):
        data = folder(tmp_path / "d", on_bad="skip", cache=cache)
    assert (len(data.train), len(data.test), data.skipped) == (3, 3, 5)
    assert torch.equal(data.train.labels, counted(data.train, 3))


def test_leaks_are_found(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", PARTS)
    for what in ("images", "masks"):
        shutil.copy(tmp_path / f"d/train/{what}/train01.png", tmp_path / f"d/test/{what}/copy.png")
    with pytest.warns(Note, match=r"1 file \(train/images/train01.png\) is in train and in test"):
        assert len(folder(tmp_path / "d").train) == 5
    with pytest.raises(UserError, match=r"data.leaks=error"):
        folder(tmp_path / "d", leaks="error")
    with pytest.warns(Note, match="the copies are left out"):
        assert len(folder(tmp_path / "d", leaks="drop").train) == 4


def smoothed(mask: np.ndarray, path: Path) -> None:
    ramp = np.linspace(0, 255, mask.size).reshape(mask.shape).astype(np.uint8)
    write(Image.fromarray(ramp), path)


def lossy(mask: np.ndarray, path: Path) -> None:
    write(Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8)), path.with_suffix(".jpg"))


@pytest.mark.parametrize(
    ("save", "says"),
    [
        (smoothed, r"train00.png: the mask has 25\d different values: .*; these are grey levels or smoothed edges"),
        (lossy, r"train00.jpg: the mask has \d+ different values: .*; JPEG changes the values of masks: save masks as"),
        (save_colours, r"the mask is RGB, with the colours .*; set data.colours to a file with a line"),
        (lambda mask, path: save_grey(mask * 38, path), "0, 38, 76, .*which are not classes counted from 0"),
        (lambda mask, path: write(Image.fromarray(mask / np.float32(3)), path.with_suffix(".tif")), "not whole"),
    ],
)
def test_masks_that_are_no_classes(save: Callable[..., None], says: str, tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", {"train": 4, "test": 2}, save=save)
    with pytest.raises(UserError, match=says):
        folder(tmp_path / "d")


def test_masks_counted_from_one_and_values_between_the_classes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    mask_tree(tmp_path / "d", {"train": 4, "test": 2}, save=lambda mask, path: save_grey(mask % 255 + 1, path))
    with pytest.raises(UserError, match=r"value 3 is outside the 3 classes .*; classes are counted from 0"):
        folder(tmp_path / "d", classes=str(tmp_path / "names.txt"))
    mask_tree(tmp_path / "s", {"train": 4, "test": 2}, save=smoothed)
    with pytest.raises(UserError, match=r"there are 3 classes: .*; smoothed edges \(anti-aliasing\)"):
        folder(tmp_path / "s", classes=str(tmp_path / "names.txt"))


def test_a_colour_that_is_not_in_the_table(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", {"train": 4, "test": 2}, classes=4, save=save_colours)
    (tmp_path / "d/table.txt").write_text(TABLE)
    with pytest.raises(UserError, match=r"train00.png: the colour 255 255 255 is not in .*table.txt; the mask has "):
        folder(tmp_path / "d", colours="table.txt")


def test_grey_values_get_names_from_a_table(tmp_path: Path) -> None:
    expected = mask_tree(tmp_path / "d", {"train": 4, "test": 2}, save=lambda mask, path: save_grey(mask * 38, path))
    (tmp_path / "d/table.txt").write_text("".join(f"{name} {v} {v} {v}\n" for name, v in zip("abc", (0, 38, 76)))  # noqa: B905
                                          + "edge 218 218 218\n")  # fmt: skip
    data = folder(tmp_path / "d", colours="table.txt", ignore=["edge"])
    assert data.classes == ("a", "b", "c")
    assert all(map(np.array_equal, masks_of(data.train), expected["train"]))


def test_no_note_for_good_data(tmp_path: Path) -> None:
    mask_tree(tmp_path / "d", PARTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        assert folder(tmp_path / "d").notes() == []
