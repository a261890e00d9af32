"""Small pictures with masks, for the tests of files in the formats of others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dlzoo.core.registries import DATASETS
from dlzoo.data.mask_set import MaskSet
from dlzoo.data.split import Split
from tests.box_files import photo

Array = NDArray[Any]

#: Wide, high and square: width and height.
SIZES = [(30, 20), (16, 24), (20, 20), (12, 9), (24, 24), (18, 26)]
#: The colours of four classes.
COLOURS = [(0, 0, 0), (200, 10, 20), (0, 128, 0), (7, 8, 250)]


def stripes(width: int, height: int, classes: int, shift: int = 0) -> Array:
    """A mask (H, W) uint8 of vertical stripes of 3 pixels, one class after the other, with an ignored corner."""
    mask = np.tile(((np.arange(width) // 3 + shift) % classes).astype(np.uint8), (height, 1))
    mask[:2, :2] = 255
    return mask


def save_palette(mask: Array, path: Path) -> None:
    image = Image.fromarray(mask).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for colour in COLOURS for value in colour] + [9] * 3 * (256 - len(COLOURS)))
    write(image, path)


def save_colours(mask: Array, path: Path) -> None:
    table = np.full((256, 3), 255, np.uint8)
    table[: len(COLOURS)] = COLOURS
    write(Image.fromarray(table[mask]), path)


def save_grey(mask: Array, path: Path) -> None:
    write(Image.fromarray(mask), path)


def write(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def mask_tree(
    root: Path,
    parts: Mapping[str, int],
    places: tuple[str, str] = ("{}/images", "{}/masks"),
    classes: int = 3,
    save: Any = save_grey,
) -> dict[str, list[Array]]:
    """Write images and masks of several sizes, and return the masks of each part."""
    masks: dict[str, list[Array]] = {}
    for part, count in parts.items():
        for number in range(count):
            width, height = SIZES[number % len(SIZES)]
            mask = stripes(width, height, classes, number)
            images, folder = (root / place.format(part) for place in places)
            photo(images / f"{part}{number:02}.png", width, height)
            save(mask, folder / f"{part}{number:02}.png")
            masks.setdefault(part, []).append(mask)
    return masks


def load(name: str, root: Path, **settings: Any) -> MaskSet:
    return DATASETS.build(name, wiring={"cache": settings.pop("cache", "none")}, root=str(root), **settings)


def masks_of(split: Split) -> list[Array]:
    """The mask of each image, without the rest of its canvas, which is checked to be ignored."""
    assert split.sizes is not None
    images = split.images[:]
    found = []
    for image, (width, height) in zip(images, split.sizes.tolist(), strict=True):
        found.append(image[:height, :width, 3].numpy())
        rest = image.clone()
        rest[:height, :width, 3] = 255
        assert (rest[..., 3] == 255).all()
    return found


def pixels_of(split: Split, number: int) -> Array:
    """The colours of an image, without the rest of its canvas."""
    assert split.sizes is not None
    width, height = split.sizes[number].tolist()
    return split.images[number : number + 1][0, :height, :width, :3].numpy()


def counted(split: Split, classes: int) -> torch.Tensor:
    """How many pixels of each class the masks have, counted one by one: (N, K)."""
    return torch.tensor([[int((mask == number).sum()) for number in range(classes)] for mask in masks_of(split)])
