"""Transforms of images together with their boxes: geometry, mosaic, mixup, cutout and multi-scale training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from dlzoo.boxes.iou import area
from dlzoo.core.rng import Draw, key
from dlzoo.data.transforms.affine import extent, to_bytes
from dlzoo.data.transforms.augment import Augment, augment_with_boxes
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.geometry import hole_mask
from dlzoo.data.transforms.letterbox import GREY
from dlzoo.data.transforms.mixing import beta_quantiles, quantile
from dlzoo.data.transforms.mosaic import compose_images, draw_quarters
from dlzoo.data.transforms.settings import AugmentSettings

#: The smallest visible share of an object's area, and the shortest side in pixels of what was cut; others are removed.
_LEAST, _SHORTEST = 0.25, 2.0


class BoxMixer:
    """Mosaic, mixup, cutout and multi-scale: uint8 images (N, C, H, W), labels (N, M, 6) -> images and labels.

    `mosaic` is the share of images made of four, `mixup` the alpha of Beta(alpha, alpha) for blending two images,
    `cutout` the side of a hole; 0 leaves each out. Each step resizes its images to one of the sides `multi_scale`,
    drawn for the step. Mosaics and mixed images have as many rows of labels as the fullest of them has objects.

    As in classification, partners are images of the same batch.
    """

    def __init__(
        self, *, mosaic: float = 0.0, mixup: float = 0.0, cutout: int = 0, multi_scale: Sequence[int] = ()
    ) -> None:
        self._mosaic, self._side, self._sides = mosaic, cutout, tuple(multi_scale)
        self._mixes, self._mixup = mixup > 0, beta_quantiles(mixup)
        self.cut = CutObjects()

    @classmethod
    def of(cls, settings: AugmentSettings) -> BoxMixer:
        """Make the mixer of the settings."""
        return cls(
            mosaic=settings.mosaic, mixup=settings.mixup, cutout=settings.cutout, multi_scale=settings.multi_scale
        )

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        draw = draw.part("mixer")
        if self._mosaic:
            images, labels = self._mosaics(images, labels, draw.part("mosaic"))
        if self._mixes:
            images, labels = self._blended(images, labels, draw)
        if self._mosaic or self._mixes:
            labels = _compact(labels)
        if self._side:
            images = images.masked_fill(
                hole_mask(draw, (images.shape[2], images.shape[3]), (self._side, self._side)), GREY
            )
        if self._sides:
            # From the key only: the host knows it without a GPU sync, and it is the same on every rank.
            images, labels = resize(images, labels, self._sides[key(draw.key, "side", step) % len(self._sides)])
        return images, labels

    def _mosaics(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        chosen = draw.uniform("chosen") < self._mosaic
        images, placed = _make_mosaics(images, labels, draw, chosen)
        labels = torch.where(chosen[:, None, None], clip(placed, extent(images)), placed)
        self.cut.add(placed, labels)
        return images, labels

    def _blended(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        self._mixup = self._mixup.to(images.device)
        weight = quantile(self._mixup, draw.uniform("mixup"))[:, None, None, None]
        partner = draw.uniform("partner").argsort(stable=True)
        mixed = images * weight + images[partner] * (1 - weight)
        return to_bytes(mixed), torch.cat((labels, labels[partner]), 1)


class BoxTransform:
    """Augment images and the objects in them together, mix them, and normalise the images.

    In the first `counted` steps, an epoch, objects are counted that are cut away.
    """

    def __init__(self, augment: Augment, normalise: Normalise, mixer: BoxMixer, counted: int = 0) -> None:
        self._augment, self._normalise, self._mixer, self._counted = augment, normalise, mixer, counted

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        cut = self._mixer.cut
        cut.counts = step < self._counted
        before = labels
        images, labels = augment_with_boxes(self._augment, images, labels, draw)
        if labels is not before:
            cut.add(before, labels)
        images, labels = self._mixer(images, labels, draw, step)
        return self._normalise(images), labels

    def new_notes(self) -> list[str]:
        """Return how many objects were cut away, once, if there are any. This waits for the device."""
        seen, left = self._mixer.cut.total()
        self._counted, self._mixer.cut = 0, CutObjects()
        if seen == left:
            return []
        return [f"augmentation cut away {seen - left:,} of {seen:,} objects ({1 - left / seen:.1%}) in the first epoch"]


class CutObjects:
    """Number of the objects that were moved, and of those that were left, summed on the device."""

    def __init__(self) -> None:
        self.counts = False
        self._sums: list[Tensor] = []

    def add(self, before: Tensor, after: Tensor) -> None:
        """Count the objects in labels (N, M, 6) before and after they were moved."""
        if self.counts and not before.is_meta:
            sums = [(labels[..., 4] >= 0).sum() for labels in (before, after)]
            self._sums = (
                sums if not self._sums else [total + more for total, more in zip(self._sums, sums, strict=True)]
            )

    def total(self) -> tuple[int, int]:
        """Return the number of objects before and after."""
        before, after = (int(total) for total in self._sums or (0, 0))
        return before, after


def resize(images: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Resize uint8 images (N, C, H, W) and labels (N, M, 6) to (side, side); bilinear, antialiased when smaller."""
    height, width = images.shape[2:]
    left, top, right, bottom, *rest = labels.unbind(-1)
    across, down = side / width, side / height
    labels = torch.stack([left * across, top * down, right * across, bottom * down, *rest], -1)
    return V.resize(images, [side, side]).contiguous(memory_format=torch.channels_last), labels


def move_boxes(labels: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Move the boxes of labels (N, M, 6) from x to x * scale + offset, (N, 2) each."""
    corners = labels[..., :4].unflatten(-1, (2, 2)) * scale[:, None, None] + offset[:, None, None]
    return torch.cat((corners.amin(-2), corners.amax(-2), labels[..., 4:]), -1)


def clip(labels: Tensor, size: Tensor, least: float = _LEAST) -> Tensor:
    """Clip labels (N, M, 6) to images of `size` (N, 2), width and height.

    An object is removed if less than the share `least` of its area, or of a longer side less than two pixels, is left.
    What was smaller before is not removed for its size.
    """
    corners = labels[..., :4].unflatten(-1, (2, 2))
    inside = torch.minimum(corners.clamp(min=0), size[:, None, None])
    before, sides = (each[..., 1, :] - each[..., 0, :] for each in (corners, inside))
    short = ((sides < _SHORTEST) & ((before >= _SHORTEST) | (sides <= 0))).any(-1)
    boxes = inside.flatten(-2)
    gone = short | (area(boxes) < least * area(labels[..., :4]))
    return _remove_objects(torch.cat((boxes, labels[..., 4:]), -1), gone)


def _make_mosaics(images: Tensor, labels: Tensor, draw: Draw, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the images `chosen` (N,) by mosaics of four. The objects in them may extend beyond the image."""
    quarters, placed = draw_quarters(images, draw), []
    for number, quarter in enumerate(quarters):
        rows = move_boxes(labels[quarter.partner], quarter.scale, quarter.offset)
        unchanged = labels if number == 0 else _remove_objects(labels, labels[..., 4] >= 0)
        placed.append(torch.where(chosen[:, None, None], rows, unchanged))
    return compose_images(images, quarters, chosen), torch.cat(placed, 1)


def _remove_objects(labels: Tensor, gone: Tensor) -> Tensor:
    """Remove the objects of labels (N, M, 6) where `gone` (N, M) is true."""
    classes = labels[..., 4].masked_fill(gone, -1)
    return torch.cat((labels[..., :4], classes[..., None], labels[..., 5:]), -1)


def _compact(labels: Tensor) -> Tensor:
    """Drop empty rows of labels (N, M, 6), keeping the order of objects and at least one row.

    This synchronises with the GPU: two to eight times the rows would cost more in every overlap that is computed.
    """
    if labels.is_meta:  # the number of objects is unknown
        return labels
    empty = labels[..., 4] < 0
    most = max(1, int((~empty).sum(1).max()))
    rows = empty.byte().argsort(dim=1, stable=True)[:, :most]
    return labels.take_along_dim(rows[..., None], 1)
