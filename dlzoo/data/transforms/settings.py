"""Settings that go with every augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dlzoo.core.errors import UserError
from dlzoo.core.schema import Bounds, Fraction, NonNegative
from dlzoo.data.transforms.mixing import Mixer
from dlzoo.data.transforms.test_time import Views


@dataclass(frozen=True)
class AugmentSettings:
    """Holes, mixtures of several samples, other sizes, and views of a tested image.

    `cutout`: the side, in pixels, of a square that is set to the mean; it may lie across the border (arXiv:1708.04552).
    `mixup`: alpha of Beta(alpha, alpha), the weights of two images and their labels (arXiv:1710.09412, equation 1).
    `cutmix`: alpha of Beta(alpha, alpha), one minus the area of a rectangle of another image (arXiv:1905.04899).
    With both, half of the samples take the one and half the other. 0 leaves each of the three out.
    Of images with objects a hole is grey, and a mixture has the objects of both (arXiv:1902.04103, section 3.1, which
    has an alpha of 1.5). Only they have:
    `mosaic`: the share of training images that are made of four (arXiv:2004.10934, section 3.3).
    `multi_scale`: sides in pixels, to one of which all images of a step are brought (arXiv:1612.08242, section 2).
    `test`: the views of a tested image whose logits are averaged: "flip" adds the mirror image, "flip_shift" also
    both moved by a sixteenth to either side, "ten_crop" is corners and middle with their mirror images.
    """

    cutout: Annotated[int, Bounds(minimum=0, maximum=4096)] = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    mosaic: Fraction = 0.0
    multi_scale: tuple[Annotated[int, Bounds(minimum=32, maximum=4096)], ...] = ()
    test: Views = "none"

    def mixer(self, num_classes: int) -> Mixer | None:
        """What happens to the images of a training step and their classes together, if anything does.

        Raises:
            UserError: for what needs images with objects in them.
        """
        for name in ("mosaic", "multi_scale"):
            if getattr(self, name):
                raise UserError(f"augment.{name} is for images with objects in them; leave it out with this data")
        if not (self.cutout or self.mixup or self.cutmix):
            return None
        return Mixer(num_classes, cutout=self.cutout, mixup=self.mixup, cutmix=self.cutmix)
