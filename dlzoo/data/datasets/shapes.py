"""Synthetic detection images with drawn figures: no download."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch

from dlzoo.boxes.objects import pad_labels
from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds, Fraction, Seed
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.sdf import FORMS
from dlzoo.data.datasets.synthetic_scene import SceneSettings, draw_scene
from dlzoo.data.split import Split

Count = Annotated[int, Bounds(minimum=1, maximum=1_000_000)]
Size = Annotated[float, Bounds(minimum=0.01, maximum=1)]


@DATASETS.register("shapes", source="drawn by dlzoo", model="yolo_tiny", augment="flip", tasks=("detect",))
def shapes(
    *,
    train: Count = 1000,
    test: Count = 200,
    image_size: Annotated[int, Bounds(minimum=16, maximum=4096)] = 96,
    objects: Annotated[int, Bounds(minimum=1, maximum=1000)] = 4,
    smallest: Size = 0.2,
    largest: Size = 0.5,
    overlap: Fraction = 0.2,
    crowd: Fraction = 0.0,
    clutter: Fraction = 0.15,
    turn: Fraction = 0.1,
    seed: Seed = 0,
) -> BoxSet:
    """Drawn images of `image_size` with 1 to `objects` coloured figures of 8 forms, their exact boxes; no download

    `smallest` and `largest` are diameters, as fractions of the image side. Two boxes have an IoU of at most `overlap`;
    a fraction `crowd` of the figures stands beside another one of the same form, with an IoU of at least half of that.
    At least 0.3 of each figure is visible. `clutter` is the amount of clutter in the background. Figures are rotated by
    at most `turn` half turns: the more, the harder they are to classify.

    Raises:
        UserError: if `smallest` is larger than `largest`.
    """
    if smallest > largest:
        raise UserError(f"data.smallest={smallest:g} is larger than data.largest={largest:g}; set it to at most that")
    settings = SceneSettings(seed, image_size, objects, smallest, largest, overlap, crowd, clutter, turn)
    return BoxSet(_split(settings, "train", train), _split(settings, "test", test), tuple(FORMS))


def _split(settings: SceneSettings, name: str, count: int) -> Split:
    scenes = [draw_scene(settings, name, index) for index in range(count)]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    rows = [np.column_stack((scene.boxes, scene.classes, np.zeros(len(scene.classes)))) for scene in scenes]
    sizes = torch.tensor([[images.shape[2], images.shape[1]]]).expand(len(images), 2)
    return Split(images, pad_labels([torch.from_numpy(row).float() for row in rows]), sizes.contiguous())
