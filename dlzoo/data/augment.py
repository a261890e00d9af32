"""Augmentations: uint8 images (N, C, H, W) and the random numbers of each sample -> images of the same shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.knobs import NonNegativeInt
from dlzoo.registry import AUGMENTS
from dlzoo.streams import Draw

Augment = Callable[[Tensor, Draw], Tensor]


@AUGMENTS.register("none", source="no augmentation")
def none() -> Augment:
    """Images as they are"""
    return lambda images, draw: images


@AUGMENTS.register("crop", source="arXiv:1512.03385, section 4.2, without the mirror")
def crop(*, padding: NonNegativeInt | None = None) -> Augment:
    """A random window after padding with zeros; `padding` null is an eighth of the size"""
    return lambda images, draw: _window(images, draw, padding, flip=False)


@AUGMENTS.register("flip_crop", source="arXiv:1512.03385, section 4.2")
def flip_crop(*, padding: NonNegativeInt | None = None) -> Augment:
    """A random window after padding with zeros, half of them mirrored; `padding` null is an eighth of the size"""
    return lambda images, draw: _window(images, draw, padding, flip=True)


def _window(images: Tensor, draw: Draw, padding: int | None, flip: bool) -> Tensor:
    _, _, height, width = images.shape
    pad = max(height, width) // 8 if padding is None else padding
    rows = torch.arange(height, device=images.device) + draw.integers("row", 2 * pad + 1)[:, None]
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    if flip:
        columns = torch.where(draw.uniform("flip")[:, None] < 0.5, width - 1 - columns, columns)
    columns = columns + draw.integers("column", 2 * pad + 1)[:, None]
    # One gather does the window and the mirror: on (N, H, W, C), the memory order of these images.
    padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
