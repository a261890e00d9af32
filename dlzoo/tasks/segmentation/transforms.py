"""Transforms of images together with their masks: random windows, augmentation, cutout."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.core.rng import Draw
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.transforms.augment import Augment, augment_with_masks
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.geometry import cut_windows, hole_mask
from dlzoo.data.transforms.letterbox import GREY


class MaskTransform:
    """Augment images and their masks together, cut a window out of each, and normalise the images.

    Args:
        augment: an augmentation that is registered with moves=("masks",).
        crop: the side in pixels of the windows; None for whole images.
        cutout: the side in pixels of a hole, grey and ignored; 0 for none.
    """

    def __init__(self, augment: Augment, normalise: Normalise, *, crop: int | None = None, cutout: int = 0) -> None:
        self._augment, self._normalise, self._crop, self._cutout = augment, normalise, crop, cutout

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        """Return normalised images (N, C, h, w) and their masks (N, h, w), given masks (N, H, W) uint8."""
        images, masks = augment_with_masks(self._augment, images, labels, draw)
        if self._crop is not None and self._crop < max(masks.shape[1:]):
            images, masks = random_windows(images, masks, draw.part("crop"), self._crop)
        if self._cutout:
            hole = hole_mask(draw.part("mixer"), (masks.shape[1], masks.shape[2]), (self._cutout, self._cutout))
            images, masks = images.masked_fill(hole, GREY), masks.masked_fill(hole[:, 0], IGNORED)
        return self._normalise(images), masks


def random_windows(images: Tensor, masks: Tensor, draw: Draw, side: int) -> tuple[Tensor, Tensor]:
    """Cut a random window of `side` pixels out of each image (N, C, H, W) and its mask (N, H, W).

    A window lies within the known pixels of the mask where these are large enough, so that the padding of a small image
    is not trained on; a side of the canvas that is shorter is kept whole.
    """
    starts, sides = [], []
    for axis, name in ((1, "row"), (2, "column")):
        length = masks.shape[axis]
        shown = min(side, length)
        known = (masks != IGNORED).any(3 - axis)
        places = torch.arange(length, device=masks.device)
        last = torch.where(known, places, -1).amax(1) + 1
        room = (last - shown).clamp(min=0)
        starts.append((draw.uniform(name) * (room + 1)).long())
        sides.append(shown)
    (top, left), (rows, columns) = starts, sides
    images = cut_windows(images, top, left, None, rows, columns)
    return images, cut_windows(masks[:, None], top, left, None, rows, columns)[:, 0]
