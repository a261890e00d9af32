"""Masks in colours, drawn over images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlzoo.data.mask_set import IGNORED
from dlzoo.metrics.class_colours import class_colour

Mask = NDArray[np.uint8]
Pixels = NDArray[np.uint8]
#: Red, green and blue of each class, 0 to 255.
Palette = Sequence[Sequence[int]]

#: The weight of the colour of a class over an image, and the colour of ignored pixels.
_WEIGHT, _IGNORED_COLOUR = 0.7, (255, 255, 255)


def class_palette(classes: Sequence[str], colours: Palette = ()) -> list[tuple[int, int, int]]:
    """Return the colour of each class: `colours` if there are any, else those of plots, black for a first "background".

    Args:
        classes: names of the classes.
        colours: the colours of a data set's own masks.
    """
    if len(colours) >= len(classes):
        return [(rgb[0], rgb[1], rgb[2]) for rgb in colours[: len(classes)]]
    first = int(classes[0].lower() == "background")
    drawn = [class_colour(number) for number in range(len(classes) - first)]
    parsed = [(int(each[1:3], 16), int(each[3:5], 16), int(each[5:7], 16)) for each in drawn]
    return [(0, 0, 0)] * first + parsed


def colour_mask(mask: Mask, palette: Palette) -> Pixels:
    """Return the colours (H, W, 3) of a mask (H, W); white where it is ignored."""
    table = np.full((256, 3), _IGNORED_COLOUR, np.uint8)
    table[: len(palette)] = palette
    table[IGNORED] = _IGNORED_COLOUR
    return table[mask]


def overlay(pixels: Pixels, mask: Mask, palette: Palette) -> Pixels:
    """Return an image (H, W, 1 or 3) with the colours of a mask (H, W) over it.

    A coloured class is drawn over grey pixels, so that its colour is that of a legend; a black one leaves its pixels.
    """
    ground = np.broadcast_to(pixels, (*mask.shape, 3)).astype(np.float32)
    colours = colour_mask(mask, palette)
    drawn = colours * np.float32(_WEIGHT) + ground.mean(2, keepdims=True) * np.float32(1 - _WEIGHT)
    return np.where(colours.any(2, keepdims=True), drawn, ground).round().astype(np.uint8)


def palette_image(mask: Mask, palette: Palette) -> Image.Image:
    """Return a mask as a PNG image with a palette: each pixel is the number of its class, shown in its colour."""
    image = Image.fromarray(mask)
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    table[IGNORED] = _IGNORED_COLOUR
    image.putpalette(table.flatten().tolist())
    return image
