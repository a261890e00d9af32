"""Transforms of images together with their masks: augmentation, windows, mosaic, cutout, multi-scale training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as V

from dlzoo.core.rng import Draw, key
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.transforms.augment import Augment, augment_with_masks
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.geometry import cut_windows, hole_mask
from dlzoo.data.transforms.letterbox import GREY
from dlzoo.data.transforms.mosaic import compose_images, compose_masks, draw_quarters


class MaskTransform:
    """Augment images and their masks together, cut a window out of each, mix them, and normalise the images.

    Args:
        augment: an augmentation that is registered with moves=("masks",).
        crop: the side in pixels of the windows; None for whole images.
        mosaic: the share of images that are composed of four of the batch; 0 for none.
        cutout: the side in pixels of a hole, grey and ignored; 0 for none.
        multi_scale: the lengths in pixels to one of which the longer side of all images of a step is resized, drawn for
            the step; () for none.
    """

    def __init__(
        self,
        augment: Augment,
        normalise: Normalise,
        *,
        crop: int | None = None,
        mosaic: float = 0.0,
        cutout: int = 0,
        multi_scale: Sequence[int] = (),
    ) -> None:
        self._augment, self._normalise, self._crop = augment, normalise, crop
        self._mosaic, self._cutout, self._sides = mosaic, cutout, tuple(multi_scale)

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        """Return normalised images (N, C, h, w) and their masks (N, h, w), given masks (N, H, W) uint8."""
        images, masks = augment_with_masks(self._augment, images, labels, draw)
        if self._crop is not None and self._crop < max(masks.shape[1:]):
            images, masks = random_windows(images, masks, draw.part("crop"), self._crop)
        images, masks = self._mix(images, masks, draw.part("mixer"), step)
        return self._normalise(images), masks

    def _mix(self, images: Tensor, masks: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        if self._mosaic:
            numbers = draw.part("mosaic")
            chosen, quarters = numbers.uniform("chosen") < self._mosaic, draw_quarters(images, numbers)
            images, masks = compose_images(images, quarters, chosen), compose_masks(masks, quarters, chosen)
        if self._cutout:
            hole = hole_mask(draw, (masks.shape[1], masks.shape[2]), (self._cutout, self._cutout))
            images, masks = images.masked_fill(hole, GREY), masks.masked_fill(hole[:, 0], IGNORED)
        if self._sides:
            # From the key only: the host knows it without a GPU sync, and it is the same on every rank.
            images, masks = resize(images, masks, self._sides[key(draw.key, "side", step) % len(self._sides)])
        return images, masks


def resize(images: Tensor, masks: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Resize uint8 images (N, C, H, W) and masks (N, H, W) so that the longer side is `side`.

    Images are resized bilinearly, antialiased when smaller, and masks to the nearest pixel.
    """
    longest = max(masks.shape[1:])
    size = [max(1, round(length * side / longest)) for length in masks.shape[1:]]
    resized = V.resize(images, size).contiguous(memory_format=torch.channels_last)
    return resized, V.resize(masks[:, None], size, InterpolationMode.NEAREST_EXACT)[:, 0]


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
        first = torch.where(known, places, length).amin(1)
        last = torch.where(known, places, -1).amax(1) + 1
        room = (last - first - shown).clamp(min=0)
        starts.append(first.clamp(max=length - shown) + (draw.uniform(name) * (room + 1)).long())
        sides.append(shown)
    (top, left), (rows, columns) = starts, sides
    images = cut_windows(images, top, left, None, rows, columns)
    return images, cut_windows(masks[:, None], top, left, None, rows, columns)[:, 0]
