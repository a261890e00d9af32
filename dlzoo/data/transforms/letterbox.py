"""How pictures of any size become squares, and where their boxes go: letterboxed or stretched."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from dlzoo.data.storage.decode import eight_bits, opened

#: letterbox keeps the proportions and fills up with grey, as Darknet does; stretch brings both sides to the square's.
Fit = Literal["letterbox", "stretch"]

#: What is around a letterboxed picture: the middle grey, which Darknet writes as 0.5.
GREY = 128


def inside(sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """The part of the canvas that a picture takes: (N, 4) x1, y1, x2, y2, whole pixels, of sizes (N, 2) int64.

    The longer side of a letterboxed picture takes all of the canvas, and the other is rounded to whole pixels.
    """
    longest = sizes.amax(-1, keepdim=True) if fit == "letterbox" else sizes
    extent = ((2 * side * sizes + longest) // (2 * longest)).clamp(min=1)
    corner = (side - extent) // 2
    return torch.cat([corner, corner + extent], -1)


def placed(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Boxes (N, ..., 4) in pixels of N pictures of `sizes` (N, 2) -> in pixels of the canvas."""
    scale, shift = _scale_and_shift(boxes, sizes, side, fit)
    return boxes * scale + shift


def original(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Boxes (N, ..., 4) in pixels of the canvas -> of N pictures of `sizes` (N, 2), cut off at their edges."""
    scale, shift = _scale_and_shift(boxes, sizes, side, fit)
    limits = _beside(sizes.repeat(1, 2), boxes)
    return ((boxes - shift) / scale).clamp(min=torch.zeros_like(limits), max=limits)


def open_picture(path: Path, *, as_stored: bool = False) -> Image.Image:
    """A picture in RGB, turned upright as its EXIF says unless it is taken `as_stored`.

    Raises:
        UserError: if the file is no whole picture.
    """
    with opened(path) as image:
        if not as_stored and _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        return eight_bits(image).convert("RGB")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a picture when it is turned upright; its pixels need not be read."""
    width, height = image.size
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def _orientation(image: Image.Image) -> int:
    # A PNG's EXIF may come after its pixels: to look for it there would be to decode all pictures for their sizes.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def fitted_picture(image: Image.Image, side: int, fit: Fit) -> np.ndarray:
    """A picture on its canvas: (side, side, channels) uint8, resized bilinearly."""
    left, top, right, bottom = inside(torch.tensor([image.size]), side, fit)[0].tolist()
    small = np.asarray(image.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    small = small.reshape(*small.shape[:2], -1)
    canvas = np.full((side, side, small.shape[2]), GREY, dtype=np.uint8)
    canvas[top:bottom, left:right] = small
    return canvas


def _scale_and_shift(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> tuple[Tensor, Tensor]:
    """Of x, y, x, y, of each picture, so that a picture's edges come to lie on those of its part of the canvas."""
    area = inside(sizes, side, fit)
    corner, extent = area[:, :2], area[:, 2:] - area[:, :2]
    scale = extent.to(boxes.dtype) / sizes.to(boxes.dtype)
    return _beside(scale.repeat(1, 2), boxes), _beside(corner.repeat(1, 2), boxes)


def _beside(values: Tensor, boxes: Tensor) -> Tensor:
    """`values` (N, 4) in a shape that meets boxes (N, ..., 4)."""
    return values.to(boxes.dtype).view(len(values), *[1] * (boxes.dim() - 2), 4)
