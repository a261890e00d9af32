"""Image filters as augmentations: per channel, with replicated borders, applied to an image with probability `p`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import Fraction, Positive
from dlzoo.data.transforms.augment import Augment

Size = Literal[3, 5, 7]


@AUGMENTS.register(
    "median", source="Gonzalez and Woods, Digital Image Processing, order-statistic filters", moves=("boxes", "masks")
)
def median(*, size: Size = 3, p: Fraction = 0.5) -> Augment:
    """Median filter of `size` x `size` pixels, with probability `p`"""
    return _with_probability(p, lambda images: elementwise_median(_neighbours(images, size // 2)))


@AUGMENTS.register(
    "mean", source="Gonzalez and Woods, Digital Image Processing, smoothing linear filters", moves=("boxes", "masks")
)
def mean(*, size: Size = 3, p: Fraction = 0.5) -> Augment:
    """Mean filter of `size` x `size` pixels, with probability `p`"""
    ones = [1.0] * size
    return _with_probability(p, lambda images: correlate(_to_planes(images), ones, ones).div_(size * size).round_())


@AUGMENTS.register(
    "gaussian",
    source="Gonzalez and Woods, Digital Image Processing, Gaussian lowpass filter kernels",
    moves=("boxes", "masks"),
)
def gaussian(*, sigma: Positive = 1.0, p: Fraction = 0.5) -> Augment:
    """Gaussian filter, with probability `p`: weights exp(-(x^2 + y^2) / (2 sigma^2)), truncated at 4 sigma"""
    return _with_probability(p, lambda images: gaussian_blur(images, sigma).round_())


@AUGMENTS.register(
    "sobel", source="Gonzalez and Woods, Digital Image Processing, Sobel operators", moves=("boxes", "masks")
)
def sobel(*, p: Fraction = 0.5) -> Augment:
    """Sobel filter, with probability `p`: sqrt((gx^2 + gy^2) / 2) / 4, gradients by Sobel's 3 x 3 kernels"""
    smooth, slope = [1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]

    def edges(images: Tensor) -> Tensor:
        pixels = _to_planes(images)
        down, across = correlate(pixels, slope, smooth), correlate(pixels, smooth, slope)
        # The steepest edge, from 0 to 255 in both directions, gives 255: nothing is clipped.
        return (down.square_() + across.square_()).div_(32).sqrt_().round_()

    return _with_probability(p, edges)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Blur uint8 (N, C, H, W) -> float32 from 0 to 255, not rounded."""
    reach = int(4 * sigma + 0.5)
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(-reach, reach + 1)]
    weights = [weight / sum(weights) for weight in weights]
    return correlate(_to_planes(images), weights, weights).clamp_(0, 255)


def _to_planes(images: Tensor) -> Tensor:
    """Return float pixels with contiguous channels: sums along rows are three times as fast."""
    return images.contiguous().float()


def correlate(pixels: Tensor, down: list[float], across: list[float]) -> Tensor:
    """Correlate float (N, C, H, W) with a separable kernel: `down` vertically, then `across` horizontally."""
    return _correlate_axis(_correlate_axis(pixels, down, 2), across, 3)


def _correlate_axis(pixels: Tensor, weights: list[float], axis: int) -> Tensor:
    reach, length = len(weights) // 2, pixels.shape[axis]
    pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    padded = F.pad(pixels, pad, mode="replicate")
    total = padded.narrow(axis, 0, length) * weights[0]
    for place, weight in enumerate(weights[1:], 1):
        if weight:
            total += padded.narrow(axis, place, length) * weight
    return total


def _neighbours(images: Tensor, reach: int) -> list[Tensor]:
    """Return the images shifted by all offsets of up to `reach` pixels."""
    height, width = images.shape[2:]
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    places = range(2 * reach + 1)
    return [padded[:, :, row : row + height, column : column + width] for row in places for column in places]


def elementwise_median(planes: list[Tensor]) -> Tensor:
    """Return the elementwise median of an odd number of tensors.

    Forgetful selection: of any (n + 3) / 2 of the n, neither the smallest nor the largest can be the median. Drop
    both, add the next one, and repeat. Only minima and maxima of tensors: 30 times as fast as sorting at each pixel.
    """
    kept, waiting = list(planes[: len(planes) // 2 + 2]), list(planes[len(planes) // 2 + 2 :])
    while len(kept) > 1:
        for place in range(1, len(kept)):
            kept[0], kept[place] = torch.minimum(kept[0], kept[place]), torch.maximum(kept[0], kept[place])
        for place in range(1, len(kept) - 1):
            kept[-1], kept[place] = torch.maximum(kept[-1], kept[place]), torch.minimum(kept[-1], kept[place])
        kept = kept[1:-1] + waiting[:1]
        waiting = waiting[1:]
    return kept[0]


def _with_probability(p: float, change: Callable[[Tensor], Tensor]) -> Augment:
    def filtered(images: Tensor, draw: Draw) -> Tensor:
        chosen = (draw.uniform("filter") < p)[:, None, None, None]
        return torch.where(chosen, change(images).to(torch.uint8, memory_format=torch.channels_last), images)

    return filtered
