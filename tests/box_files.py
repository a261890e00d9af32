"""Small pictures with objects, for the tests of files in the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image

from dlzoo.boxes.objects import objects
from dlzoo.core.registries import DATASETS
from dlzoo.data.box_set import BoxSet
from dlzoo.data.split import Split
from dlzoo.data.transforms.letterbox import Fit, from_canvas


def photo(path: Path, width: int = 30, height: int = 20, **save: Any) -> None:
    """A ramp of colours, in whose last corner pictures of other paths differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    ramp[-4:, -4:] = np.random.default_rng(crc32(str(path).encode())).integers(0, 256, (4, 4, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(path, **save)


def load(name: str, root: Path, **settings: Any) -> BoxSet:
    return DATASETS.build(
        name, wiring={"cache": settings.pop("cache", "auto")}, root=str(root), image_size=32, **settings
    )


def sizes_of(split: Split) -> torch.Tensor:
    assert split.sizes is not None
    return split.sizes


def in_pictures(split: Split, fit: Fit = "letterbox") -> list[list[tuple]]:
    """The objects of each image as (x1, y1, x2, y2, class, difficult), in pixels of the picture as it came."""
    found = objects(split.labels)
    boxes = from_canvas(found.boxes, sizes_of(split), split.images.shape[1], fit)
    rows = torch.cat([boxes, found.classes[..., None], found.difficult[..., None]], -1)
    kept = [row[there].tolist() for row, there in zip(rows, found.there, strict=True)]
    return [[tuple(round(value, 3) for value in row) for row in image] for image in kept]
