"""Settings that go with every augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from dlzoo.data.mixing import Mixer
from dlzoo.data.views import Views
from dlzoo.knobs import Bounds, NonNegative


@dataclass(frozen=True)
class AugmentSettings:
    """Holes, mixtures of two samples, and views of a tested image.

    `cutout`: the side, in pixels, of a square that is set to the mean; it may lie across the border (arXiv:1708.04552).
    `mixup`: alpha of Beta(alpha, alpha), the weights of two images and their labels (arXiv:1710.09412, equation 1).
    `cutmix`: alpha of Beta(alpha, alpha), one minus the area of a rectangle of another image (arXiv:1905.04899).
    With both, half of the samples take the one and half the other. 0 leaves each of the three out.
    `test`: the views of a tested image whose logits are averaged: "flip" adds the mirror image, "flip_shift" also
    both moved by a sixteenth to either side, "ten_crop" is corners and middle with their mirror images.
    """

    cutout: Annotated[int, Bounds(minimum=0, maximum=4096)] = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    test: Views = "none"

    def mixer(self, num_classes: int) -> Mixer | None:
        """What happens to the images of a training step together, if anything does."""
        if not (self.cutout or self.mixup or self.cutmix):
            return None
        return Mixer(num_classes, cutout=self.cutout, mixup=self.mixup, cutmix=self.cutmix)
