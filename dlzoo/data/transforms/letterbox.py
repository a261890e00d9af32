"""Resize images of any size to squares, letterboxed or stretched, and transform their boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlzoo.data.storage.image_file import (
    DEFAULT_CONVERSION,
    Conversion,
    open_image,
    orientation,
    to_eight_bits,
    upright,
)

#: letterbox keeps the aspect ratio and pads with grey, as Darknet does; stretch resizes both sides to the square's.
Fit = Literal["letterbox", "stretch"]

#: The padding of a letterboxed image: middle grey, 0.5 in Darknet.
GREY = 128


def occupied_box(sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Return the part of the canvas that an image occupies: sizes (N, 2) int64 -> (N, 4) x1, y1, x2, y2, integers.

    The longer side of a letterboxed image fills the canvas, and the other is rounded to integer pixels.
    """
    longest = sizes.amax(-1, keepdim=True) if fit == "letterbox" else sizes
    extent = ((2 * side * sizes + longest) // (2 * longest)).clamp(min=1)
    corner = (side - extent) // 2
    return torch.cat([corner, corner + extent], -1)


def to_canvas(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Transform boxes (N, ..., 4) from pixels of N images of `sizes` (N, 2) to pixels of the canvas."""
    scale, shift = _scale_and_shift(boxes, sizes, side, fit)
    return boxes * scale + shift


def from_canvas(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Transform boxes (N, ..., 4) from pixels of the canvas to those of N images of `sizes` (N, 2), clipped to them."""
    scale, shift = _scale_and_shift(boxes, sizes, side, fit)
    limits = _broadcast_to_boxes(sizes.repeat(1, 2), boxes)
    return ((boxes - shift) / scale).clamp(min=torch.zeros_like(limits), max=limits)


def load_image(
    image: Path | Image.Image, *, as_stored: bool = False, conversion: Conversion = DEFAULT_CONVERSION
) -> Image.Image:
    """Read an image in RGB, rotated by its EXIF orientation unless `as_stored`.

    Raises:
        UserError: if the file is not a complete image.
    """
    with open_image(image) as opened:
        return to_eight_bits(opened if as_stored else upright(opened), conversion).convert("RGB")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image after its EXIF rotation, without decoding its pixels."""
    width, height = image.size
    return (height, width) if orientation(image) in (5, 6, 7, 8) else (width, height)


def resized(size: tuple[int, int], image_size: int | None) -> tuple[int, int]:
    """Return width and height of an image whose longer side is resized to `image_size`, unless that is None."""
    if image_size is None:
        return size
    longest = max(size)
    width, height = (max(1, (2 * image_size * side + longest) // (2 * longest)) for side in size)
    return width, height


def fit_to_square(image: Image.Image, side: int, fit: Fit) -> np.ndarray:
    """Resize an image bilinearly onto its canvas: (side, side, channels) uint8."""
    left, top, right, bottom = occupied_box(torch.tensor([image.size]), side, fit)[0].tolist()
    small = np.asarray(image.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    small = small.reshape(*small.shape[:2], -1)
    canvas = np.full((side, side, small.shape[2]), GREY, dtype=np.uint8)
    canvas[top:bottom, left:right] = small
    return canvas


def _scale_and_shift(boxes: Tensor, sizes: Tensor, side: int, fit: Fit) -> tuple[Tensor, Tensor]:
    """Return scale and shift of x, y, x, y that map each image's edges to those of its part of the canvas."""
    area = occupied_box(sizes, side, fit)
    corner, extent = area[:, :2], area[:, 2:] - area[:, :2]
    scale = extent.to(boxes.dtype) / sizes.to(boxes.dtype)
    return _broadcast_to_boxes(scale.repeat(1, 2), boxes), _broadcast_to_boxes(corner.repeat(1, 2), boxes)


def _broadcast_to_boxes(values: Tensor, boxes: Tensor) -> Tensor:
    """Reshape `values` (N, 4) to broadcast with boxes (N, ..., 4)."""
    return values.to(boxes.dtype).view(len(values), *[1] * (boxes.dim() - 2), 4)
