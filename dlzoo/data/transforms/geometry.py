"""Geometric augmentations: crops, flips and resized crops."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import Bounds, Fraction
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.transforms.affine import sample_masks
from dlzoo.data.transforms.augment import Augment

Padding = Annotated[int, Bounds(minimum=0, maximum=512)]

#: The range of aspect ratios of resized crops, and how many crops are drawn until one fits into the image.
_RATIOS, _TRIES = (3 / 4, 4 / 3), 10


@AUGMENTS.register("crop", source="arXiv:1512.03385, section 4.2, without the mirror", moves=("masks",))
def crop(*, padding: Padding | None = None) -> Augment:
    """A random crop after padding with zeros; `padding` null is an eighth of the size"""
    return PaddedCrop(padding, flip=False)


@AUGMENTS.register("flip_crop", source="arXiv:1512.03385, section 4.2", moves=("masks",))
def flip_crop(*, padding: Padding | None = None) -> Augment:
    """A random crop after padding with zeros, and a random flip; `padding` null is an eighth of the size"""
    return PaddedCrop(padding, flip=True)


class PaddedCrop:
    """A random window of the image's size, after padding each side with zeros, and masks with 255 (ignored).

    Args:
        padding: pixels on each side; None for an eighth of the longer side.
        flip: whether half of the windows are mirrored.
    """

    def __init__(self, padding: int | None, *, flip: bool) -> None:
        self._padding, self._flip = padding, flip

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        height, width = images.shape[2:]
        pad = max(height, width) // 8 if self._padding is None else self._padding
        return self._window(F.pad(images, (pad, pad, pad, pad)), draw, pad, height, width)

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        pad = max(height, width) // 8 if self._padding is None else self._padding
        padded = F.pad(masks[:, None], (pad, pad, pad, pad), value=IGNORED)
        return self(images, draw), self._window(padded, draw, pad, height, width)[:, 0]

    def _window(self, padded: Tensor, draw: Draw, pad: int, height: int, width: int) -> Tensor:
        top, left = draw.integers("row", 2 * pad + 1), draw.integers("column", 2 * pad + 1)
        return cut_windows(padded, top, left, _flip_mask(draw) if self._flip else None, height, width)


@AUGMENTS.register("flip", source="arXiv:1512.03385, section 4.2, without the window", moves=("boxes", "masks"))
class RandomFlip:
    """A horizontal flip of half of the images"""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        return torch.where(_flip_mask(draw)[:, None, None, None], images.flip(3), images)

    def augment_boxes(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        left, top, right, bottom, *rest = labels.unbind(-1)
        width = images.shape[3]
        flipped = torch.stack([width - right, top, width - left, bottom, *rest], -1)
        return self(images, draw), torch.where(_flip_mask(draw)[:, None, None], flipped, labels)

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        return self(images, draw), torch.where(_flip_mask(draw)[:, None, None], masks.flip(2), masks)


@AUGMENTS.register("alexnet", source="Krizhevsky et al. 2012 (NIPS), section 4.1")
class RandomCrop:
    """A random crop of 7/8 of the side (224 of 256), and a random flip; in evaluation the centre crop"""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        height, width = images.shape[2:]
        rows, columns = self.size(height), self.size(width)
        top, left = draw.integers("row", height - rows + 1), draw.integers("column", width - columns + 1)
        return cut_windows(images, top, left, _flip_mask(draw), rows, columns)

    def size(self, image_size: int) -> int:
        return max(1, image_size * 7 // 8)

    def test(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows, columns = self.size(height), self.size(width)
        return images[:, :, (height - rows) // 2 :, (width - columns) // 2 :][:, :, :rows, :columns]


@AUGMENTS.register("resized_crop", source="arXiv:1409.4842, section 6", moves=("masks",))
class ResizedCrop:
    """A crop of random area (`smallest_area` of the image to all) and ratio (3:4 to 4:3), resized to the image

    Bilinear. `flip` flips half of them horizontally.
    """

    def __init__(self, *, smallest_area: Fraction = 0.08, flip: bool = True) -> None:
        self._smallest_area, self._flip = smallest_area, flip

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        return resize_window(images, *self._window(images, draw), self._mirror(draw))

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        return self(images, draw), resize_mask_window(masks, *self._window(images, draw), self._mirror(draw))

    def _window(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return top, left, rows and columns, (N,) each."""
        height, width = images.shape[2:]
        rows, columns = crop_sizes(draw, height, width, self._smallest_area)
        top = (draw.uniform("row") * (height - rows + 1)).floor()
        left = (draw.uniform("column") * (width - columns + 1)).floor()
        return top, left, rows, columns

    def _mirror(self, draw: Draw) -> Tensor | None:
        return _flip_mask(draw) if self._flip else None


def hole_mask(draw: Draw, size: tuple[int, int], sides: tuple[Tensor | int, Tensor | int]) -> Tensor:
    """Return a mask (N, 1, H, W) bool: a rectangle of `sides` (rows, columns) at a random pixel, clipped."""
    inside = []
    for name, length, side in zip(("hole row", "hole column"), size, sides, strict=True):
        start = draw.integers(name, length) - side // 2
        places = torch.arange(length, device=start.device)
        inside.append((places >= start[:, None]) & (places < (start + side)[:, None]))
    rows, columns = inside
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def crop_sizes(draw: Draw, height: int, width: int, smallest_area: float) -> tuple[Tensor, Tensor]:
    """Return rows and columns, (N,) integers each, of random crops: the first of ten that fits into the image."""
    # In double: exp rounds differently in its vectorised loop and in the remainder of a tensor.
    area = height * width * (smallest_area + (1 - smallest_area) * draw.uniform("area", _TRIES).double())
    low, high = (math.log(ratio) for ratio in _RATIOS)
    ratio = (low + (high - low) * draw.uniform("ratio", _TRIES).double()).exp()
    rows, columns = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
    fits = (rows >= 1) & (rows <= height) & (columns >= 1) & (columns <= width)
    first = fits.int().argmax(1, keepdim=True)
    # If none fits, the largest centre crop with a ratio in the range.
    all_rows, all_columns = min(height, round(width / _RATIOS[0])), min(width, round(height * _RATIOS[1]))
    rows = torch.where(fits.any(1), rows.gather(1, first)[:, 0], all_rows)
    return rows, torch.where(fits.any(1), columns.gather(1, first)[:, 0], all_columns)


def resize_window(
    images: Tensor, top: Tensor, left: Tensor, rows: Tensor, columns: Tensor, mirror: Tensor | None = None
) -> Tensor:
    """Resize the window at (top, left) of (rows, columns), (N,) each, to the size of the image; bilinear."""
    vertical = _sampling_coordinates(images.shape[2], top, rows)
    horizontal = _sampling_coordinates(images.shape[3], left, columns)
    if mirror is not None:
        horizontal = torch.where(mirror[:, None], horizontal.flip(1), horizontal)
    grid = torch.stack(torch.broadcast_tensors(horizontal[:, None, :], vertical[:, :, None]), 3)
    pixels = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return pixels.round_().to(torch.uint8, memory_format=torch.channels_last)


def resize_mask_window(
    masks: Tensor, top: Tensor, left: Tensor, rows: Tensor, columns: Tensor, mirror: Tensor | None = None
) -> Tensor:
    """Resize the window of masks (N, H, W) as `resize_window` does that of images; nearest."""
    places = []
    for length, start, side in ((masks.shape[2], left, columns), (masks.shape[1], top, rows)):
        middles = torch.arange(length, device=masks.device) + 0.5
        places.append(start[:, None].float() + middles * (side[:, None].float() / length))
    across, down = places
    if mirror is not None:
        across = torch.where(mirror[:, None], across.flip(1), across)
    return sample_masks(masks, across[:, None, :], down[:, :, None])


def _sampling_coordinates(length: int, start: Tensor, side: Tensor) -> Tensor:
    """Return sampling coordinates, (N, length), from -1 to 1, clamped to the window."""
    start, side = start[:, None].float(), side[:, None].float()
    places = (torch.arange(length, device=start.device) + 0.5) * (side / length) - 0.5
    places = start + torch.minimum(places.clamp(min=0), side - 1)
    return (2 * places + 1) / length - 1


def _flip_mask(draw: Draw) -> Tensor:
    return draw.uniform("flip") < 0.5


def cut_windows(images: Tensor, top: Tensor, left: Tensor, mirror: Tensor | None, rows: int, columns: int) -> Tensor:
    """Return the window at (top, left), (N,) each, of each image, flipped where `mirror` (N,) is true.

    Rows, then columns: two gathers of contiguous lines, several times as fast as one gather of single pixels.
    """
    count, channels, height, _ = images.shape
    device = images.device
    down = torch.arange(rows, device=device) + (top + torch.arange(count, device=device) * height)[:, None]
    across = torch.arange(columns, device=device).expand(count, -1)
    if mirror is not None:
        across = torch.where(mirror[:, None], columns - 1 - across, across)
    across = across + left[:, None]
    # These images are in channels-last memory format: a line is (width, channels).
    lines = images.permute(0, 2, 3, 1).reshape(count * height, -1)
    lines = lines.index_select(0, down.flatten()).view(count, rows, -1)
    places = (across[:, :, None] * channels + torch.arange(channels, device=device)).view(count, 1, columns * channels)
    picked = lines.gather(2, places.expand(-1, rows, -1))
    return picked.view(count, rows, columns, channels).permute(0, 3, 1, 2)
