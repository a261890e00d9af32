"""Synthetic images with drawn figures, for detection and segmentation: no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch

from dlzoo.boxes.objects import pad_labels
from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds, Fraction, Seed
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.sdf import FORMS
from dlzoo.data.datasets.synthetic_scene import Scene, SceneSettings, draw_scene
from dlzoo.data.mask_set import MaskSet, mask_split
from dlzoo.data.split import Split

Count = Annotated[int, Bounds(minimum=1, maximum=1_000_000)]
Size = Annotated[float, Bounds(minimum=0.01, maximum=1)]


@DATASETS.register("shapes", source="drawn by dlzoo", model="yolo_tiny", augment="flip", tasks=("detect", "segment"))
def shapes(
    *,
    task: Literal["detect", "segment"] | None = None,
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
) -> BoxSet | MaskSet:
    """Drawn images of `image_size` with 1 to `objects` coloured figures of 8 forms, exact boxes or masks; no download

    `task` null is that of the model, or else detect. A mask has the forms and, as its first class, the background.

    `smallest` and `largest` are diameters, as fractions of the image side. Two boxes have an IoU of at most `overlap`;
    a fraction `crowd` of the figures stands beside another one of the same form, with an IoU of at least half of that.
    At least 0.3 of each figure is visible. `clutter` is the amount of clutter in the background. Figures are rotated by
    at most `turn` half turns: the more, the harder they are to classify.

    Raises:
        UserError: if `smallest` is larger than `largest`.
    """
    if smallest > largest:
        raise UserError(f"data.smallest={smallest:g} is larger than data.largest={largest:g}; set it to at most that")
    counts = {"train": train, "test": test}
    settings = SceneSettings(seed, image_size, objects, smallest, largest, overlap, crowd, clutter, turn)
    train_scenes, test_scenes = ([draw_scene(settings, name, index) for index in range(count)]
                                 for name, count in counts.items())  # fmt: skip
    return _BUILDERS[task or "detect"](train_scenes, test_scenes)


def _mask_set(train: Sequence[Scene], test: Sequence[Scene]) -> MaskSet:
    return MaskSet(_with_masks(train), _with_masks(test), ("background", *FORMS))


def _with_masks(scenes: Sequence[Scene]) -> Split:
    images = np.stack([np.concatenate([scene.image, _mask(scene)[..., None]], 2) for scene in scenes])
    return mask_split(torch.from_numpy(images), 1 + len(FORMS))


def _mask(scene: Scene) -> np.ndarray:
    """Return the visible form of each pixel, from 1, and 0 for the background: (S, S) uint8."""
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    for form, inside in zip(scene.classes, scene.masks, strict=True):
        mask[inside] = 1 + form
    return mask


def _box_set(train: Sequence[Scene], test: Sequence[Scene]) -> BoxSet:
    return BoxSet(_with_boxes(train), _with_boxes(test), tuple(FORMS))


def _with_boxes(scenes: Sequence[Scene]) -> Split:
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    rows = [np.column_stack((scene.boxes, scene.classes, np.zeros(len(scene.classes)))) for scene in scenes]
    sizes = torch.tensor([[images.shape[2], images.shape[1]]]).expand(len(images), 2)
    return Split(images, pad_labels([torch.from_numpy(row).float() for row in rows]), sizes.contiguous())


#: Task -> a function: the scenes of the training and the test split -> a data set.
_BUILDERS = {"detect": _box_set, "segment": _mask_set}
