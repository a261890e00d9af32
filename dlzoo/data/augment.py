"""Augmentations: uint8 images (N, C, H, W) and the random numbers of each sample -> images of the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.knobs import Bounds
from dlzoo.registry import AUGMENTS
from dlzoo.streams import Draw

Augment = Callable[[Tensor, Draw], Tensor]
Padding = Annotated[int, Bounds(minimum=0, maximum=512)]


@AUGMENTS.register("none", source="no augmentation")
def none() -> Augment:
    """Images as they are"""
    return lambda images, draw: images


@AUGMENTS.register("crop", source="arXiv:1512.03385, section 4.2, without the mirror")
def crop(*, padding: Padding | None = None) -> Augment:
    """A random window after padding with zeros; `padding` null is an eighth of the size"""
    return lambda images, draw: _window(images, draw, padding, flip=False)


@AUGMENTS.register("flip_crop", source="arXiv:1512.03385, section 4.2")
def flip_crop(*, padding: Padding | None = None) -> Augment:
    """A random window after padding with zeros, half of them mirrored; `padding` null is an eighth of the size"""
    return lambda images, draw: _window(images, draw, padding, flip=True)


def _window(images: Tensor, draw: Draw, padding: int | None, flip: bool) -> Tensor:
    """Rows, then columns: two gathers of whole lines of memory, several times as fast as one of single pixels."""
    count, channels, height, width = images.shape
    device = images.device
    pad = max(height, width) // 8 if padding is None else padding
    rows = torch.arange(height, device=device) + draw.integers("row", 2 * pad + 1)[:, None]
    columns = torch.arange(width, device=device).expand(count, -1)
    if flip:
        columns = torch.where(draw.uniform("flip")[:, None] < 0.5, width - 1 - columns, columns)
    columns = columns + draw.integers("column", 2 * pad + 1)[:, None]
    # In the memory order of these images a line is (width, channels).
    lines = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1).reshape(count * (height + 2 * pad), -1)
    rows = rows + torch.arange(count, device=device)[:, None] * (height + 2 * pad)
    lines = lines.index_select(0, rows.flatten()).view(count, height, -1)
    places = (columns[:, :, None] * channels + torch.arange(channels, device=device)).view(count, 1, width * channels)
    picked = lines.gather(2, places.expand(-1, height, -1))
    return picked.view(count, height, width, channels).permute(0, 3, 1, 2)
