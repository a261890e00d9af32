"""Pixels of one file: transparency, 16 bits, and images that need neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlzoo.core.errors import UserError
from dlzoo.data.storage.image_file import Conversion, read_image
from dlzoo.data.transforms.letterbox import load_image

RED = (200, 30, 40)


def rgba(path: Path) -> None:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[:, :3] = (*RED, 255)
    Image.fromarray(pixels).save(path)


def half(path: Path) -> None:
    Image.new("RGBA", (6, 4), (100, 100, 100, 51)).save(path)


def grey_alpha(path: Path) -> None:
    pixels = np.zeros((4, 6, 2), np.uint8)
    pixels[:, :3] = (90, 255)
    Image.fromarray(pixels, "LA").save(path)


def palette(path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(0, (0, 0, 3, 4))
    image.save(path, transparency=1)


def palette_bytes(path: Path) -> None:
    image = Image.new("P", (6, 4), 1)
    image.putpalette([*RED, 0, 0, 0])
    image.paste(0, (0, 0, 3, 4))
    image.save(path, transparency=b"\xff\x00")


def colour_key(path: Path) -> None:
    image = Image.new("RGB", (6, 4), (1, 2, 3))
    image.paste(RED, (0, 0, 3, 4))
    image.save(path, transparency=(1, 2, 3))


def grey_key(path: Path) -> None:
    image = Image.new("L", (6, 4), 7)
    image.paste(90, (0, 0, 3, 4))
    image.save(path, transparency=7)


def deep_key(path: Path) -> None:
    pixels = np.full((4, 6), 1000, np.uint16)
    pixels[:, :3] = 90 * 256
    Image.fromarray(pixels).save(path, transparency=1000)


@pytest.mark.parametrize(("background", "behind"), [("white", (255, 255, 255)), ("#102030", (16, 32, 48))])
@pytest.mark.parametrize(
    ("make", "suffix", "left"),
    [
        (rgba, "png", RED),
        (rgba, "tif", RED),
        (rgba, "webp", None),  # lossy
        (grey_alpha, "png", (90, 90, 90)),
        (palette, "png", RED),
        (palette, "gif", RED),
        (palette_bytes, "png", RED),
        (colour_key, "png", RED),
        (grey_key, "png", (90, 90, 90)),
        (deep_key, "png", (90, 90, 90)),
    ],
)
def test_what_is_transparent_has_the_background(
    tmp_path: Path,
    make: Callable[[Path], None],
    suffix: str,
    left: tuple[int, int, int] | None,
    background: str,
    behind: tuple[int, int, int],
) -> None:
    make(path := tmp_path / f"a.{suffix}")
    conversion = Conversion(background)
    for pixels in (np.asarray(load_image(path, conversion=conversion)), read_image(path, 4, conversion=conversion)):
        assert np.abs(pixels[:, -1].astype(int) - behind).max() <= (0 if left else 3)
        assert left is None or (pixels[:, 0] == left).all()


def test_partly_transparent_pixels_are_mixed_and_grey_networks_see_the_background_too(tmp_path: Path) -> None:
    half(path := tmp_path / "a.png")
    assert (read_image(path, 4) == 255 - 31).all()  # 0.2 of 100 and 0.8 of 255
    assert (read_image(path, 4, "L", conversion=Conversion("black")) == 20).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "CMYK", "RGBA", "LA", "RGB transparent"])
def test_opaque_images_stay_as_pillow_reads_them(tmp_path: Path, mode: str) -> None:
    mode, _, unused = mode.partition(" ")
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    image.save(path := tmp_path / f"a.{suffix}", **({"transparency": (255,) * 3} if unused else {}))
    for as_seen in ("RGB", "L"):
        with Image.open(path) as stored:
            expected = np.asarray(stored.convert(as_seen)).reshape(16, 16, -1)
        assert np.array_equal(read_image(path, 16, as_seen, conversion=Conversion("red")), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("value_range", "values", "expected"),
    [
        ((0, 65535), [0, 255, 256, 4095, 65535], [0, 0, 1, 15, 255]),
        ((0, 4095), [0, 15, 16, 2048, 4095, 60000], [0, 0, 1, 128, 255, 255]),
        ((0, 255), [0, 1, 77, 255, 256], [0, 1, 77, 255, 255]),
        ((28000, 28250), [0, 28000, 28125, 28250, 65535], [0, 0, 127, 255, 255]),
        ((7, 8), [6, 7, 8, 9], [0, 0, 255, 255]),
        ((0, 256), [0, 1, 128, 255, 256], [0, 0, 127, 254, 255]),
    ],
)
def test_sixteen_bits_are_scaled_from_their_range(
    tmp_path: Path, suffix: str, value_range: tuple[int, int], values: list[int], expected: list[int]
) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.array([values], np.uint16)).save(path)
    pixels = np.asarray(load_image(path, conversion=Conversion(value_range=value_range)))
    assert pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("background", ["whitish", "#12", "255,255", ""])
def test_a_background_that_is_no_colour_is_refused(background: str) -> None:
    with pytest.raises(UserError, match=r"data\.background=.* is not a colour"):
        Conversion(background)
