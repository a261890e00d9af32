"""Random scale and rotation, and the sampling that they need: bilinear for images, nearest for masks."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import Bounds
from dlzoo.data.mask_set import IGNORED

Zoom = Annotated[float, Bounds(minimum=0.01, maximum=100)]
Degrees = Annotated[float, Bounds(minimum=0, maximum=180)]


@AUGMENTS.register("scale", source="arXiv:1706.05587, section 4.1", moves=("masks",))
class RandomScale:
    """Zoom by a random factor from `smallest` to `largest`

    Bilinear; black outside the image. The size stays: an enlarged image is cropped to a random window, a reduced one is
    at a random place.

    Raises:
        UserError: if `smallest` is larger than `largest`.
    """

    def __init__(self, *, smallest: Zoom = 0.5, largest: Zoom = 2.0) -> None:
        if smallest > largest:
            raise UserError(f"augment.smallest={smallest:g} is larger than augment.largest={largest:g}")
        self._smallest, self._largest = smallest, largest

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        return to_bytes(move_pixels(images.float(), *self._place(images, draw), fill=0))

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        return self(images, draw), move_masks(masks, *self._place(images, draw))

    def _place(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return scale and offset, (N, 2) each."""
        scale = self._smallest + (self._largest - self._smallest) * draw.uniform("scale")[:, None].expand(-1, 2)
        return scale, (1 - scale) * extent(images) * draw.uniform("place", 2)


@AUGMENTS.register("rotate", source="torchvision.transforms.v2.RandomRotation", moves=("masks",))
class RandomRotation:
    """Rotate around the centre by a random angle of up to `degrees` in either direction

    Bilinear; black outside the image. The size stays, so corners are cut.
    """

    def __init__(self, *, degrees: Degrees = 15.0) -> None:
        self._degrees = degrees

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        across, down = self._source(images, draw)
        height, width = images.shape[2:]
        grid = torch.stack([across * (2 / width) - 1, down * (2 / height) - 1], 3)
        return to_bytes(F.grid_sample(images.float(), grid, align_corners=False))

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        return self(images, draw), sample_masks(masks, *self._source(images, draw))

    def _source(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return the place in the image, x and y, (N, H, W) each, of the middle of each pixel after the rotation.

        A positive angle is counter-clockwise, as in torchvision.
        """
        # In double: sine and cosine round differently in their vectorised loop and in the remainder of a tensor.
        angle = (2 * draw.uniform("angle").double() - 1) * math.radians(self._degrees)
        cosine, sine = (each.float()[:, None, None] for each in (angle.cos(), angle.sin()))
        height, width = images.shape[2:]
        across = (torch.arange(width, device=images.device) + (0.5 - width / 2))[None, None, :]
        down = (torch.arange(height, device=images.device) + (0.5 - height / 2))[None, :, None]
        return across * cosine - down * sine + width / 2, across * sine + down * cosine + height / 2


def extent(images: Tensor) -> Tensor:
    """Return the width and height (N, 2) of images, on their device."""
    sides = [torch.full((len(images),), float(images.shape[axis]), device=images.device) for axis in (3, 2)]
    return torch.stack(sides, 1)


def move_pixels(pixels: Tensor, scale: Tensor, offset: Tensor, *, fill: float) -> Tensor:
    """Move pixels (N, C, H, W) from x to x * scale + offset, (N, 2) each; float, bilinear, `fill` outside the image.

    Coordinates begin at the outer edge of the first pixel. A negative scale mirrors.
    """
    places = []
    for axis, length in enumerate((pixels.shape[3], pixels.shape[2])):
        middles = torch.arange(length, device=pixels.device) + 0.5
        places.append((middles - offset[:, axis, None]) / scale[:, axis, None] * (2 / length) - 1)
    grid = torch.stack(torch.broadcast_tensors(places[0][:, None, :], places[1][:, :, None]), 3)
    return F.grid_sample(pixels - fill, grid, align_corners=False).add_(fill)


def move_masks(masks: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Move the pixels of masks (N, H, W) uint8 as `move_pixels` does; nearest, 255 (ignored) outside the image."""
    places = []
    for axis, length in enumerate((masks.shape[2], masks.shape[1])):
        middles = torch.arange(length, device=masks.device) + 0.5
        places.append((middles - offset[:, axis, None]) / scale[:, axis, None])
    return sample_masks(masks, places[0][:, None, :], places[1][:, :, None])


def sample_masks(masks: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return the pixels of masks (N, H, W) uint8 in which places are: (N, h, w) uint8, 255 (ignored) for none.

    Args:
        masks: (N, H, W).
        across, down: x and y of the places, (N, h, w) or broadcast to it; 0 is the outer edge of the first pixel.
    """
    height, width = masks.shape[1:]
    column, row = across.floor().long(), down.floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    found = masks.flatten(1).gather(1, index.flatten(1)).view(index.shape)
    return found.masked_fill(~inside, IGNORED)


def to_bytes(pixels: Tensor) -> Tensor:
    """Return float pixels (N, C, H, W) from 0 to 255, rounded, as uint8 in channels-last memory format."""
    return pixels.round().to(torch.uint8, memory_format=torch.channels_last)
