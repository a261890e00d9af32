"""Augmentations: their interface, the identity, and the composition of several.

An augmentation is called as augment(images, draw): uint8 images (N, C, H, W), C 1 or 3, and the random numbers of each
sample -> uint8 images (N, C, h, w) on the same device. The result for a sample depends on its image and its random
numbers only, not on the rest of the batch. One that changes the size of images is `Resizing`.

An augmentation for images with objects or masks is registered with moves=("boxes", "masks"): it does not move pixels,
or it is a `BoxAugment`, or a `MaskAugment`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Protocol, runtime_checkable

from torch import Tensor

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw

Augment = Callable[[Tensor, Draw], Tensor]


@runtime_checkable
class Resizing(Protocol):
    """An augmentation that changes the size of images, and therefore defines the evaluation transform too."""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor: ...

    def size(self, image_size: int) -> int:
        """Return the output side for an image with side `image_size`."""
        ...

    def test(self, images: Tensor) -> Tensor:
        """Transform images for evaluation: (N, C, H, W) -> (N, C, size(H), size(W))."""
        ...


@runtime_checkable
class BoxAugment(Protocol):
    """An augmentation that moves pixels, and the boxes of objects with them."""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor: ...

    def augment_boxes(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return the augmented images, and the labels (N, M, 6) of their objects."""
        ...


@runtime_checkable
class MaskAugment(Protocol):
    """An augmentation that moves pixels, and their masks with them."""

    def __call__(self, images: Tensor, draw: Draw) -> Tensor: ...

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return the augmented images, and their masks (N, H, W) uint8: 255 for pixels from outside the image."""
        ...


def output_size(augment: Augment, image_size: int) -> int:
    """Return the side of the network's input images."""
    return augment.size(image_size) if isinstance(augment, Resizing) else image_size


def transform_for_test(augment: Augment, images: Tensor) -> Tensor:
    """Transform images for evaluation."""
    return augment.test(images) if isinstance(augment, Resizing) else images


def augment_with_boxes(augment: Augment, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Augment images and the labels (N, M, 6) of their objects; `augment` is registered with moves=("boxes",)."""
    if isinstance(augment, BoxAugment):
        return augment.augment_boxes(images, labels, draw)
    return augment(images, draw), labels


def augment_with_masks(augment: Augment, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Augment images and their masks (N, H, W); `augment` is registered with moves=("masks",)."""
    if isinstance(augment, MaskAugment):
        return augment.augment_masks(images, masks, draw)
    return augment(images, draw), masks


@AUGMENTS.register("none", source="no augmentation", moves=("boxes", "masks"))
def none() -> Augment:
    """No augmentation"""
    return lambda images, draw: images


@AUGMENTS.register("several", source="the entries that it is made of", moves=("boxes", "masks"))
def several(*, steps: tuple[str, ...] = ("crop",)) -> Augment:
    """The augmentations `steps`, by name, with their default settings, one after the other

    Raises:
        UserError: for a step that is not an augmentation, or that is `several` itself.
    """
    known = [name for name in AUGMENTS.names() if name != "several"]
    for step in steps:
        if step not in known:
            raise UserError(f"augment.steps: unknown step {step!r}; {did_you_mean(step, known)}")
    return _Several([AUGMENTS.build(step) for step in steps], steps)


class _Several:
    """Composition of `parts`, each with its own random numbers."""

    def __init__(self, parts: Sequence[Augment], names: Sequence[str]) -> None:
        self._parts = parts
        #: What moves with images -> the first step that does not move it, if any.
        self._unable = {
            what: next((name for name in names if what not in AUGMENTS[name].marks.moves), None)
            for what in ("boxes", "masks")
        }

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        for number, part in enumerate(self._parts):
            images = part(images, draw.part(number))
        return images

    def augment_boxes(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Augment images and the labels of their objects.

        Raises:
            UserError: if one of the steps moves pixels but not boxes.
        """
        self._check_moves("boxes")
        for number, part in enumerate(self._parts):
            images, labels = augment_with_boxes(part, images, labels, draw.part(number))
        return images, labels

    def augment_masks(self, images: Tensor, masks: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Augment images and their masks.

        Raises:
            UserError: if one of the steps moves pixels but not masks.
        """
        self._check_moves("masks")
        for number, part in enumerate(self._parts):
            images, masks = augment_with_masks(part, images, masks, draw.part(number))
        return images, masks

    def _check_moves(self, what: str) -> None:
        if self._unable[what] is not None:
            able = [name for name in AUGMENTS.names() if what in AUGMENTS[name].marks.moves and name != "several"]
            raise UserError(f"augment.steps: {self._unable[what]} does not move {what}; available: {', '.join(able)}")

    def size(self, image_size: int) -> int:
        return reduce(lambda size, part: output_size(part, size), self._parts, image_size)

    def test(self, images: Tensor) -> Tensor:
        return reduce(lambda seen, part: transform_for_test(part, seen), self._parts, images)
