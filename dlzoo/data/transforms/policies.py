"""Augmentation policies: RandAugment, TrivialAugment, and TrivialAugment with cutout.

The operations come before crop and flip, as in the code of both papers for small images: operations that use all levels
of an image (equalize, contrast) are then not affected by the zeros of the padding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import torch
from torch import Tensor

from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import Bounds, Fraction
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.geometry import PaddedCrop, hole_mask
from dlzoo.data.transforms.randaugment_ops import OPERATIONS, apply_operations

#: The maximum magnitude; magnitudes are integers.
_LEVELS = 30

Operations = Annotated[int, Bounds(minimum=0, maximum=100)]
Level = Annotated[int, Bounds(minimum=0, maximum=_LEVELS)]


@AUGMENTS.register("randaugment", source="arXiv:1909.13719, section 3")
def randaugment(*, operations: Operations = 2, magnitude: Level = 9, flip: bool = True) -> Augment:
    """`operations` of 14 at random, of `magnitude` out of 30, then a random crop and, with `flip`, a random flip

    Nearest-neighbour interpolation, filled with black, as torchvision.transforms.v2.RandAugment.
    """

    def augmented(images: Tensor, draw: Draw) -> Tensor:
        height, width = images.shape[2:]
        reach = _max_magnitudes("narrow", height, width, images.device)
        for number in range(operations):
            images = _apply_random_operation(images, draw.part(number), reach, magnitude)
        return PaddedCrop(None, flip=flip)(images, draw)

    return augmented


@AUGMENTS.register("trivialaugment", source="arXiv:2103.10158, algorithm 1, with the wide space")
def trivialaugment(*, flip: bool = True) -> Augment:
    """One of 14 operations at random, of a random magnitude, then a random crop and, with `flip`, a random flip

    Nearest-neighbour interpolation, filled with black, as torchvision.transforms.v2.TrivialAugmentWide, except that an
    image is never translated by more than its side.
    """
    return lambda images, draw: PaddedCrop(None, flip=flip)(_apply_trivial(images, draw), draw)


@AUGMENTS.register("strong", source="arXiv:2103.10158, as it trains on CIFAR, with the hole of arXiv:1708.04552")
def strong(*, flip: bool = True, hole_side: Fraction = 0.5) -> Augment:
    """TrivialAugment, a random crop, a random flip, and a square hole of `hole_side` of the side

    The hole is filled with the mean of each channel of the image.
    """

    def augmented(images: Tensor, draw: Draw) -> Tensor:
        images = PaddedCrop(None, flip=flip)(_apply_trivial(images, draw), draw)
        height, width = images.shape[2:]
        inside = hole_mask(draw, (height, width), (round(hole_side * height), round(hole_side * width)))
        mean = images.sum((2, 3), keepdim=True) // (height * width)
        return torch.where(inside, mean.to(torch.uint8), images)

    return augmented


def _apply_trivial(images: Tensor, draw: Draw) -> Tensor:
    height, width = images.shape[2:]
    reach = _max_magnitudes("wide", height, width, images.device)
    return _apply_random_operation(images, draw, reach, draw.integers("magnitude", _LEVELS + 1))


def _apply_random_operation(images: Tensor, draw: Draw, reach: Tensor, level: Tensor | int) -> Tensor:
    operation = draw.integers("operation", len(OPERATIONS))
    sign = torch.where(draw.uniform("sign") < 0.5, -1.0, 1.0)
    return apply_operations(images, operation, reach[operation] * sign * level / _LEVELS)


@lru_cache(maxsize=8)  # copying a table to a device makes the host wait
def _max_magnitudes(space: Literal["narrow", "wide"], height: int, width: int, device: torch.device) -> Tensor:
    """Return the magnitude of each operation at the highest level, (14,), for RandAugment or TrivialAugment."""
    if space == "narrow":
        shear, angle, factor, bits = 0.3, 30.0, 0.9, 4.0
        across, down = width * 150 / 331, height * 150 / 331
    else:
        shear, angle, factor, bits = 0.99, 135.0, 0.99, 6.0
        across, down = min(32, width), min(32, height)
    reach = {"shear_x": shear, "shear_y": shear, "translate_x": across, "translate_y": down, "rotate": angle}
    reach |= dict.fromkeys(("brightness", "colour", "contrast", "sharpness"), factor)
    reach |= {"posterize": bits, "solarize": 1.0}
    return torch.tensor([reach.get(name, 0.0) for name in OPERATIONS], device=device)
