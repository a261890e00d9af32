"""What happens to the normalised images of a training step and their labels together, and how many views a test has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dlzoo.data.geometry import hole
from dlzoo.errors import UserError
from dlzoo.knobs import NonNegative, NonNegativeInt
from dlzoo.streams import Draw

#: Steps of the table of a Beta distribution's quantiles.
_QUANTILES = 4096


@dataclass(frozen=True)
class AugmentSettings:
    """Holes, mixtures of two samples, and views of a tested image.

    `cutout`: the side, in pixels, of a square that is set to the mean; it may lie across the border (arXiv:1708.04552).
    `mixup`: alpha of Beta(alpha, alpha), the weights of two images and their labels (arXiv:1710.09412, equation 1).
    `cutmix`: alpha of Beta(alpha, alpha), one minus the area of a rectangle of another image (arXiv:1905.04899).
    With both, half of the samples take the one and half the other. 0 leaves each of the three out.
    `test`: the views of a tested image whose predictions are averaged: "flip" adds the mirror image, "flip_shift" also
    both moved by a sixteenth to either side, "ten_crop" is corners and middle with their mirror images.
    """

    cutout: NonNegativeInt = 0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    test: Literal["none", "flip", "flip_shift", "ten_crop"] = "none"

    def mixer(self, num_classes: int | None) -> Mixer | None:
        """What is asked for, if anything is; `num_classes` is None of labels that are numbers.

        Raises:
            UserError: if labels are to be mixed that are numbers.
        """
        for name in ("mixup", "cutmix"):
            if getattr(self, name) and num_classes is None:
                raise UserError(f"augment.{name} mixes classes, and these labels are numbers; set augment.{name}=0")
        return Mixer(self, num_classes) if self.cutout or self.mixup or self.cutmix else None


class Mixer:
    """(normalised images (N, C, H, W), labels (N,) int64, draw) -> (images, labels).

    With mixup or cutmix labels become probabilities (N, K). A sample's partner is one of those that were handed over
    with it: a run is repeated to the bit if its steps are made of the same samples, so also for the same number of
    ranks only.
    """

    def __init__(self, settings: AugmentSettings, num_classes: int | None) -> None:
        self._settings, self._classes = settings, num_classes or 0
        self._mixup, self._cutmix = beta_quantiles(settings.mixup), beta_quantiles(settings.cutmix)

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        draw = draw.part("mixer")
        side = self._settings.cutout
        if side:
            images = images * ~hole(draw, _size(images), (side, side))
        if not (self._settings.mixup or self._settings.cutmix):
            return images, labels
        self._mixup, self._cutmix = self._mixup.to(images.device), self._cutmix.to(images.device)
        kept = self._kept(images, draw.part("weights"))
        partner = draw.uniform("partner").argsort(stable=True)
        share = kept.double().mean((1, 2, 3)).float()[:, None]
        kept = kept.to(images.dtype)
        hot = (labels[:, None] == torch.arange(self._classes, device=labels.device)).float()
        return images * kept + images[partner] * (1 - kept), hot * share + hot[partner] * (1 - share)

    def _kept(self, images: Tensor, draw: Draw) -> Tensor:
        """(N, 1, H, W) or (N, 1, 1, 1): how much of each pixel stays; the rest is the partner's."""
        weight = quantile(self._mixup, draw.uniform("mixup"))[:, None, None, None]
        if not self._settings.cutmix:
            return weight
        ratio = (1 - quantile(self._cutmix, draw.uniform("cutmix"))).sqrt()
        rows, columns = ((length * ratio).long() for length in _size(images))
        outside = (~hole(draw, _size(images), (rows, columns))).float()
        if not self._settings.mixup:
            return outside
        return torch.where((draw.uniform("which") < 0.5)[:, None, None, None], weight, outside)


def beta_quantiles(alpha: float) -> Tensor:
    """(4097,): the quantiles of Beta(alpha, alpha) at equal steps from 0 to 1; of alpha 0 those of a coin."""
    steps = torch.linspace(0, 1, _QUANTILES + 1, dtype=torch.float64)
    if alpha == 0:
        return steps.round().float()
    from scipy.special import betaincinv  # slow to import, and few runs mix

    return torch.from_numpy(betaincinv(alpha, alpha, steps.numpy())).float()


def quantile(table: Tensor, share: Tensor) -> Tensor:
    """(N,): the quantile of each `share`, interpolated between the steps of the table."""
    place = share * (len(table) - 1)
    below = place.long()
    low, high = table[below], table[below + 1]
    return low + (high - low) * (place - below)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
