"""Cutout, mixup and CutMix on the normalised images and labels of a training step."""

from __future__ import annotations

import torch
from scipy.special import betaincinv
from torch import Tensor

from dlzoo.core.rng import Draw
from dlzoo.data.transforms.geometry import hole_mask

#: Steps of the quantile table of a Beta distribution.
_QUANTILES = 4096


class Mixer:
    """Mixes a batch: (normalised images (N, C, H, W), labels (N,) int64, draw) -> (images, labels).

    `cutout` is the side of a hole, `mixup` and `cutmix` the alpha of Beta(alpha, alpha); 0 disables each. With both
    mixup and cutmix, half of the samples use one and half the other. After either, labels are probabilities (N, K).

    A sample's partner is in the same batch on the same rank: a run is repeated bit for bit only with the same number of
    ranks.
    """

    def __init__(self, num_classes: int, *, cutout: int = 0, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        self._classes, self._side = num_classes, cutout
        self._mixes, self._cuts = mixup > 0, cutmix > 0
        self._mixup, self._cutmix = beta_quantiles(mixup), beta_quantiles(cutmix)

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        draw = draw.part("mixer")
        if self._side:
            images = images * ~hole_mask(draw, _size(images), (self._side, self._side))
        if not (self._mixes or self._cuts):
            return images, labels
        self._mixup, self._cutmix = self._mixup.to(images.device), self._cutmix.to(images.device)
        kept = self._kept(images, draw.part("weights"))
        partner = draw.uniform("partner").argsort(stable=True)
        share = kept.double().mean((1, 2, 3)).float()[:, None]
        kept = kept.to(images.dtype)
        hot = (labels[:, None] == torch.arange(self._classes, device=labels.device)).float()
        return images * kept + images[partner] * (1 - kept), hot * share + hot[partner] * (1 - share)

    def _kept(self, images: Tensor, draw: Draw) -> Tensor:
        """Return the weight of each image, (N, 1, H, W) or (N, 1, 1, 1); its partner has the rest."""
        weight = quantile(self._mixup, draw.uniform("mixup"))[:, None, None, None]
        if not self._cuts:
            return weight
        ratio = (1 - quantile(self._cutmix, draw.uniform("cutmix"))).sqrt()
        rows, columns = ((length * ratio).long() for length in _size(images))
        outside = (~hole_mask(draw, _size(images), (rows, columns))).float()
        if not self._mixes:
            return outside
        return torch.where((draw.uniform("which") < 0.5)[:, None, None, None], weight, outside)


def beta_quantiles(alpha: float) -> Tensor:
    """Return the quantiles of Beta(alpha, alpha) at equal steps from 0 to 1, (4097,); alpha 0 is a fair coin."""
    steps = torch.linspace(0, 1, _QUANTILES + 1, dtype=torch.float64)
    if alpha == 0:
        return steps.round().float()
    return torch.from_numpy(betaincinv(alpha, alpha, steps.numpy())).float()


def quantile(table: Tensor, share: Tensor) -> Tensor:
    """Return the quantile of each `share`, interpolated between the steps of the table: (N,)."""
    place = share * (len(table) - 1)
    below = place.long()
    low, high = table[below], table[below + 1]
    return low + (high - low) * (place - below)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]
