"""Corruptions of the test set: brightness, blur and noise, as in CIFAR-10-C (arXiv:1903.12261)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dlzoo.core.rng import Draw
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.filters import gaussian_blur

Shift = Literal["none", "brightness", "blur", "noise"]

#: By severity, for images from 0 to 1: offset of V in HSV; standard deviation of the blur in pixels, and of the noise.
_BRIGHTER = (0.05, 0.1, 0.15, 0.2, 0.3)
_BLUR = (0.4, 0.6, 0.7, 0.8, 1.0)
_NOISE = (0.04, 0.06, 0.08, 0.09, 0.10)


def make_shift(kind: Shift, severity: int) -> Augment:
    """Return a corruption, (uint8 images (N, C, H, W), draw) -> corrupted images; `severity` is 1 to 5."""
    if kind == "brightness":
        return lambda images, draw: _brighten(images, 255 * _BRIGHTER[severity - 1])
    if kind == "blur":
        return lambda images, draw: _to_bytes(gaussian_blur(images, _BLUR[severity - 1]))
    if kind == "noise":
        return lambda images, draw: _add_noise(images, draw, 255 * _NOISE[severity - 1])
    return lambda images, draw: images


def _brighten(images: Tensor, more: float) -> Tensor:
    """Add to V of HSV by scaling all channels, which keeps hue and saturation; black, without a hue, becomes grey."""
    pixels = images.float()
    value = pixels.amax(1, keepdim=True)
    brighter = (value + more).clamp(max=255)
    return _to_bytes(torch.where(value > 0, pixels * brighter / value.clamp(min=1), brighter))


def _add_noise(images: Tensor, draw: Draw, deviation: float) -> Tensor:
    return _to_bytes((images.float() + draw.normal("noise", *images.shape[1:]) * deviation).clamp(0, 255))


def _to_bytes(pixels: Tensor) -> Tensor:
    """Convert to uint8 by truncation, as in the published sets."""
    return pixels.to(torch.uint8, memory_format=torch.channels_last)
