"""Settings that all augmentations share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dlzoo.core.errors import UserError
from dlzoo.core.schema import Bounds, Fraction
from dlzoo.data.transforms.mixing import Mixer
from dlzoo.data.transforms.test_time import Views

#: Of Beta(alpha, alpha): two images of nearly equal weight at its largest.
Alpha = Annotated[float, Bounds(minimum=0, maximum=1000)]


@dataclass(frozen=True)
class AugmentSettings:
    """Cutout, mixup, CutMix, mosaic, multi-scale training and test-time augmentation.

    `cutout`: the side, in pixels, of a square that is set to the mean; the border may clip it (arXiv:1708.04552).
    `mixup`: alpha of Beta(alpha, alpha), the weights of two images and their labels (arXiv:1710.09412, equation 1).
    `cutmix`: alpha of Beta(alpha, alpha), one minus the area of a rectangle of another image (arXiv:1905.04899).
    With both, half of the samples use one and half the other. 0 disables each of the three.
    In images with objects a hole is grey, and a mixed image has the objects of both (arXiv:1902.04103, section 3.1,
    with an alpha of 1.5). In images with masks a hole is grey and ignored. Two settings are for images with objects or
    masks only:
    `mosaic`: the fraction of training images that are composed of four (arXiv:2004.10934, section 3.3).
    `multi_scale`: sides in pixels, to one of which all images of a step are resized (arXiv:1612.08242, section 2).
    `test`: the views of a test image whose logits are averaged: "flip" adds the mirror image, "flip_shift" also both
    shifted by a sixteenth in either direction, "ten_crop" is corners and centre with their mirror images.
    """

    cutout: Annotated[int, Bounds(minimum=0, maximum=4096)] = 0
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    mosaic: Fraction = 0.0
    multi_scale: tuple[Annotated[int, Bounds(minimum=32, maximum=4096)], ...] = ()
    test: Views = "none"

    def mixer(self, num_classes: int) -> Mixer | None:
        """Return the mixer of images and classes, or None if all of its settings are 0.

        Raises:
            UserError: for settings that need images with objects or masks.
        """
        for name in ("mosaic", "multi_scale"):
            if getattr(self, name):
                raise UserError(f"augment.{name} is for images with objects or masks; leave it out with this data")
        if not (self.cutout or self.mixup or self.cutmix):
            return None
        return Mixer(num_classes, cutout=self.cutout, mixup=self.mixup, cutmix=self.cutmix)
