"""YOLO's augmentation: random scale, shift, horizontal flip and colour jitter."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Draw
from dlzoo.core.schema import BelowOne, Bounds, Fraction
from dlzoo.data.transforms.affine import extent, move_pixels
from dlzoo.data.transforms.colour import HalfTurn, shift_hue
from dlzoo.data.transforms.letterbox import GREY
from dlzoo.tasks.detection.transforms import clip, move_boxes

Factor = Annotated[float, Bounds(minimum=1)]


@AUGMENTS.register(
    "yolo", source="arXiv:1506.02640, section 2.2; hue, saturation and value as in Darknet", moves=("boxes",)
)
class Jitter:
    """Scale by 1 - `scale` to 1 + `scale`, shift by up to `shift` of the side, flip half, jitter hue, saturation, value

    Bilinear, grey beyond the border. The hue turns by up to `hue` of the circle; saturation and value are multiplied or
    divided by 1 to `saturation`, 1 to `value`. Objects with less than `min_visible` of their area left are removed.
    """

    def __init__(
        self,
        *,
        scale: BelowOne = 0.5,
        shift: Fraction = 0.2,
        flip: bool = True,
        hue: HalfTurn = 0.1,
        saturation: Factor = 1.5,
        value: Factor = 1.5,
        min_visible: Fraction = 0.25,
    ) -> None:
        self._scale, self._shift, self._flip, self._min_visible = scale, shift, flip, min_visible
        self._hue, self._saturation, self._value = hue, saturation, value

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        pixels = move_pixels(self._coloured(images, draw), *self._place(images, draw), fill=GREY)
        return pixels.round_().to(torch.uint8, memory_format=torch.channels_last)

    def augment_boxes(self, images: Tensor, labels: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        moved = move_boxes(labels, *self._place(images, draw))
        return self(images, draw), clip(moved, extent(images), self._min_visible)

    def _place(self, images: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return scale and offset, (N, 2) each: the image is scaled around its centre, which is shifted."""
        size = extent(images)
        scale = 1 + self._scale * (2 * draw.uniform("scale")[:, None] - 1).expand(-1, 2)
        if self._flip:
            across = torch.where(draw.uniform("flip") < 0.5, -scale[:, 0], scale[:, 0])
            scale = torch.stack([across, scale[:, 1]], 1)
        middle = size * (0.5 + self._shift * (2 * draw.uniform("shift", 2) - 1))
        return scale, middle - scale * size / 2

    def _coloured(self, images: Tensor, draw: Draw) -> Tensor:
        """Return float pixels with jittered colours; black, white and grey have neither hue nor saturation."""
        pixels = shift_hue(images.float(), self._hue * (2 * draw.uniform("hue")[:, None, None, None] - 1))
        brightest = pixels.amax(1, keepdim=True)
        pixels = brightest - (brightest - pixels) * _factor(draw, "saturation", self._saturation)
        return (pixels * _factor(draw, "value", self._value)).clamp_(0, 255)


def _factor(draw: Draw, name: str, most: float) -> Tensor:
    """Return factors (N, 1, 1, 1) from 1 to `most`, or their reciprocals."""
    factor = 1 + (most - 1) * draw.uniform(name)
    return torch.where(draw.uniform(f"{name} divides") < 0.5, 1 / factor, factor)[:, None, None, None]
