"""Masks are checked as they are stored: what resizing hides, formats that change values, and bits of a pixel."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlzoo.core.errors import Note, UserError
from tests.box_files import photo
from tests.mask_files import load, masks_of, save_grey, write

pytestmark = pytest.mark.usefixtures("cache_home")


def tree(root: Path, mask: np.ndarray, count: int = 6) -> Path:
    for number in range(count):
        path = root / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(path, *mask.shape[::-1])
        save_grey(mask, root / "masks" / f"{number}.png")
    return root


def halves(width: int = 60, height: int = 40) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    return mask


def test_a_class_that_resizing_hides_stays_a_class_and_is_noted(tmp_path: Path) -> None:
    mask = halves()
    mask[0, 0] = 2
    tree(tmp_path, mask)
    with pytest.warns(
        Note, match="1 of 3 classes have pixels in the masks, but none when .* data.image_size=16: class 2"
    ):
        data = load("mask_folder", tmp_path, image_size=16)
    assert data.classes == ("background", "class 1", "class 2")
    assert data.train.labels[:, 2].sum() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("mask_folder", tmp_path).train.labels[0, 2] == 1


def test_a_wrong_value_that_resizing_hides_is_refused(tmp_path: Path) -> None:
    mask = halves()
    mask[0, 0] = 77
    (tree(tmp_path, mask) / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(UserError, match="value 77 is outside the 2 classes"):
        load("mask_folder", tmp_path, image_size=16)


@pytest.mark.parametrize(("form", "settings", "says"), [
    ("JPEG", {"quality": 75}, "JPEG changes the values"), ("WEBP", {"quality": 50}, "lossy WebP changes the values"),
    ("WEBP", {"lossless": True}, ""),
])  # fmt: skip
def test_formats_that_change_values_are_known_by_their_content(
    form: str, settings: dict[str, int], says: str, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    mask = np.kron(draw.integers(0, 3, (5, 6)), np.ones((8, 8))).astype(np.uint8)
    tree(tmp_path, mask)
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(mask * 40).convert("RGB" if form == "WEBP" else "L").save(path, format=form, **settings)
    if says:
        with pytest.raises(UserError, match=says):
            load("mask_folder", tmp_path)
    else:
        with pytest.raises(UserError, match="the masks have the values 0, 40, 80"):  # lossless, and no classes
            load("mask_folder", tmp_path)


def save_packed(mask: np.ndarray, path: Path, depth: int) -> None:
    """A grey PNG of 2 or 4 bits a pixel, which Pillow does not write."""
    height, width = mask.shape
    packed = np.packbits(np.unpackbits(mask[..., None], axis=2)[..., -depth:].reshape(height, -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize("depth", [2, 4])
def test_grey_masks_of_two_and_four_bits_have_the_values_of_the_file(depth: int, tmp_path: Path) -> None:
    mask = halves()
    mask[:5] = 3
    mask[5:9] = 2
    tree(tmp_path, mask)
    for path in (tmp_path / "masks").iterdir():
        save_packed(mask, path, depth)
    data = load("mask_folder", tmp_path)
    assert len(data.classes) == 4 and all(np.array_equal(each, mask) for each in masks_of(data.train))


def test_a_colour_beyond_those_that_are_counted_is_refused(tmp_path: Path) -> None:
    numbers = np.arange(80 * 80).reshape(80, 80)
    colours = np.stack([numbers // 256, numbers % 256, np.full_like(numbers, 7)], -1).astype(np.uint8)
    known = colours.reshape(-1, 3)[:5000]
    colours.reshape(-1, 3)[5000:] = known[0]
    colours[-1, -1] = (200, 9, 9)
    tree(tmp_path, np.zeros((80, 80), np.uint8))
    for path in (tmp_path / "masks").iterdir():
        write(Image.fromarray(colours), path)
    table = tmp_path / "colours.txt"
    table.write_text("".join(f"{'a' if i % 2 else 'b'} {' '.join(map(str, rgb))}\n" for i, rgb in enumerate(known)))
    with pytest.raises(UserError, match="5,001 different colours"):
        load("mask_folder", tmp_path, colours=str(table))


def test_sixteen_bits_with_a_value_for_unknown_are_told_to_ignore_it(tmp_path: Path) -> None:
    mask = halves().astype(np.uint16)
    mask[:4] = 65535
    tree(tmp_path, halves())
    for path in (tmp_path / "masks").iterdir():
        write(Image.fromarray(mask), path)
    with pytest.raises(UserError, match=r"data.ignore=\[65535\]"):
        load("mask_folder", tmp_path)
    assert load("mask_folder", tmp_path, ignore=("65535",)).classes == ("background", "class 1")


@pytest.mark.parametrize(
    ("orientation", "width", "noted"), [(1, 60, False), (3, 60, True), (6, 40, True), (6, 60, False)]
)
def test_images_whose_masks_may_not_be_turned_with_them_are_noted(
    orientation: int, width: int, noted: bool, tmp_path: Path
) -> None:
    mask = halves(width)
    for number in range(6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo(tmp_path / "images" / f"{number}.jpg", width, 40, exif=exif)
        save_grey(mask, tmp_path / "masks" / f"{number}.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load("mask_folder", tmp_path)
    assert any("EXIF orientation" in str(each.message) for each in caught) == noted
