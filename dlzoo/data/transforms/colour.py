"""Brightness, contrast, saturation and hue.

Pixels are float32 (N, C, H, W) with integer values from 0 to 255, before and after each operation: fractions are
truncated, as torchvision does between two operations on bytes.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import Bounds, NonNegative
from dlzoo.data.transforms.augment import Augment

HalfTurn = Annotated[float, Bounds(minimum=0, maximum=0.5)]

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


@AUGMENTS.register(
    "colour_jitter",
    source="torchvision.transforms.v2.ColorJitter; arXiv:1312.5402, section 2",
    moves=("boxes", "masks"),
)
def colour_jitter(
    *,
    brightness: NonNegative = 0.4,
    contrast: NonNegative = 0.4,
    saturation: NonNegative = 0.4,
    hue: HalfTurn = 0.1,
) -> Augment:
    """Random factors 1 - x to 1 + x of brightness, contrast and saturation, a hue shift up to `hue`, in random order"""
    spans = (brightness, contrast, saturation)

    def jittered(images: Tensor, draw: Draw) -> Tensor:
        low, uniform = [max(0.0, 1 - span) for span in spans], draw.uniform("factor", len(spans))
        factors = [low[i] + (1 + spans[i] - low[i]) * uniform[:, i] for i in range(len(spans))]
        turn = hue * (2 * draw.uniform("hue") - 1)
        order = draw.uniform("order", 4).argsort(stable=True, dim=1)
        # Contiguous channels: most operations work on one channel.
        pixels = images.contiguous().float()
        pixels = jitter(pixels, order, torch.stack([*factors, torch.ones_like(turn)], 1), turn)
        return pixels.to(torch.uint8, memory_format=torch.channels_last)

    return jittered


def jitter(pixels: Tensor, order: Tensor, factors: Tensor, turn: Tensor) -> Tensor:
    """Change brightness (0), contrast (1), saturation (2) and hue (3) of each sample, in its own `order`.

    Args:
        pixels: (N, C, H, W).
        order: (N, 4) int64, the operation that comes first, second, ...
        factors: (N, 4), the last of them 1.
        turn: (N,), the hue shift; 1 is a full circle.
    """
    for kind in order.unbind(1):
        factor = factors.gather(1, kind[:, None])[:, :, None, None]
        kind = kind[:, None, None, None]
        grey = to_grey(pixels)
        other = torch.where(kind == _SATURATION, grey, torch.where(kind == _CONTRAST, mean_level(grey), 0.0))
        pixels = torch.where(kind == _HUE, shift_hue(pixels, turn[:, None, None, None]), blend(pixels, other, factor))
    return pixels


def to_grey(pixels: Tensor) -> Tensor:
    """Return ITU-R 601-2 luma, truncated to integers, (N, 1, H, W); one-channel images unchanged."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.split(1, 1)
    return (red * 0.2989 + green * 0.587 + blue * 0.114).floor_()


def mean_level(grey: Tensor) -> Tensor:
    """Return the mean of each image, (N, 1, 1, 1). In double a sum of integers is exact, in any order."""
    return grey.mean((1, 2, 3), keepdim=True, dtype=torch.float64).float()


def blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Return pixels * factor + other * (1 - factor), truncated to integers."""
    mixed = (pixels - other).mul_(factor).add_(other)
    # An integer that rounding made slightly smaller must not be truncated to the one below it.
    return mixed.add_(2**-10).clamp_(0, 255).floor_()


def shift_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue of HSV by `turn` (N, 1, 1, 1), 1 being a full circle; one-channel images are unchanged."""
    if pixels.shape[1] == 1:
        return pixels
    value, least = pixels.amax(1, keepdim=True), pixels.amin(1, keepdim=True)
    chroma = value - least
    red, green, blue = pixels.split(1, 1)
    angle = torch.where(value == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    angle = torch.where(value == red, green - blue, angle).div_(chroma.clamp(min=1))
    turned = angle / 6 + turn
    angle = (turned - turned.floor()).mul_(6)
    # Red, green and blue are at 0, 2 and 4 sixths: full within one sixth of that hue, zero beyond two sixths.
    away = (angle - torch.arange(0, 6, 2, device=pixels.device)[:, None, None]).abs_()
    missing = torch.minimum(away, 6 - away).sub_(1).clamp_(0, 1).mul_(chroma)
    return (value - missing).add_(2**-10).floor_()
