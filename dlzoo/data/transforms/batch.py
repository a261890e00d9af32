"""Transforms of the stored images and labels of a step: augmentation, normalisation, mixing."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from dlzoo.core.rng import Draw
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.mixing import Mixer


class BatchTransform(Protocol):
    """Stored images and labels -> normalised float images (N, C, h, w) and the labels for the loss."""

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        """Return the images and the labels of a step.

        Args:
            images: (N, C, H, W) uint8, or rows of a table (N, C, 1, 1).
            labels: (N, ...) as the split has them.
            draw: the random numbers of each sample.
            step: the optimizer step.
        """
        ...


class Normalise(nn.Module):
    """Normalise uint8 images (N, C, H, W) to mean 0 and deviation 1 per channel; mean and deviation (C,), 0 to 1.

    A module, so that checkpoints include the normalisation that a network was trained with.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / deviation).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale)


class ImageTransform:
    """Augment and normalise images; `mixer`, if given, then mixes them and their labels."""

    def __init__(self, augment: Augment, normalise: Normalise, mixer: Mixer | None = None) -> None:
        self._augment, self._normalise, self._mixer = augment, normalise, mixer

    def __call__(self, images: Tensor, labels: Tensor, draw: Draw, step: int) -> tuple[Tensor, Tensor]:
        images = self._normalise(self._augment(images, draw))
        return (images, labels) if self._mixer is None else self._mixer(images, labels, draw)
