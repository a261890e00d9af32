"""Test-time augmentation: the views of an image whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from dlzoo.data.transforms.augment import Augment, output_size, transform_for_test

Views = Literal["none", "flip", "flip_shift", "ten_crop"]

#: The number of views of an image.
COUNTS: dict[Views, int] = {"none": 1, "flip": 2, "flip_shift": 6, "ten_crop": 10}


def make_views(kind: Views, augment: Augment) -> Callable[[Tensor], list[Tensor]]:
    """Return a function: uint8 images (N, C, H, W) -> views of one size, each (N, C, h, w).

    Images first go through the evaluation transform of `augment`. "flip" is the image and its mirror image;
    "flip_shift" these and both shifted by a sixteenth up-left and down-right, with replicated borders (as in
    arXiv:2404.00498, where they shift by a pixel and have half the weight); "ten_crop" the four corners and the centre,
    each with its mirror image (Krizhevsky et al. 2012, section 4.1, who average probabilities).
    """
    if kind == "flip":
        return lambda images: _add_mirrors([transform_for_test(augment, images)])
    if kind == "flip_shift":
        return lambda images: _add_mirrors(_shift_views(transform_for_test(augment, images)))
    if kind == "ten_crop":
        return lambda images: _add_mirrors(_crop_corners(images, augment))
    return lambda images: [transform_for_test(augment, images)]


def _add_mirrors(seen: list[Tensor]) -> list[Tensor]:
    return [*seen, *(view.flip(3) for view in seen)]


def _shift_views(images: Tensor) -> list[Tensor]:
    """Return the images, shifted down-right, and shifted up-left."""
    height, width = images.shape[2:]
    by = max(1, max(height, width) // 16)
    padded = F.pad(images, (by, by, by, by), mode="replicate")
    return [images, padded[:, :, :height, :width], padded[:, :, 2 * by :, 2 * by :]]


def _crop_corners(images: Tensor, augment: Augment) -> list[Tensor]:
    """Return four corners and the centre of the larger image, or of a zero-padded image if there is no larger one."""
    rows, columns = (output_size(augment, length) for length in images.shape[2:])
    if images.shape[2:] == (rows, columns):
        pad = max(1, max(rows, columns) // 8)
        images = F.pad(images, (pad, pad, pad, pad))
    low, right = images.shape[2] - rows, images.shape[3] - columns
    corners = [(0, 0), (0, right), (low, 0), (low, right), (low // 2, right // 2)]
    return [images[:, :, top : top + rows, left : left + columns] for top, left in corners]
