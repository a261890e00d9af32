"""The operations of RandAugment and TrivialAugment, batched: each image has its own operation, in one pass.

Each operation is of one of three kinds, with parameters per sample: a lookup table of the 256 levels of a channel, a
blend with another image (its grey or blurred version), or an affine warp. All three are applied to every image, with
identity parameters where its operation is of another kind, so that the batch needs no grouping by operation. The result
equals that of torchvision.transforms.v2.functional on single images, with nearest-neighbour interpolation and black
fill.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.data.transforms.colour import blend, mean_level, to_grey

#: By index. A magnitude of 0 is the identity: pixels per pixel for shears, pixels, degrees, factor - 1 for brightness
#: to sharpness, bits removed, and the distance of the threshold from 1. The last two and identity have no magnitude.
OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "colour", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)


def apply_operations(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Apply one operation to each image.

    Args:
        images: (N, C, H, W) uint8.
        operation: (N,) int64, indices of OPERATIONS.
        magnitude: (N,) float32; posterize and solarize ignore its sign.
    """
    chosen = _Chosen(operation, magnitude)
    images = images.contiguous()
    grey = to_grey(images.float())
    pixels = _apply_tables(images, grey, chosen)
    pixels = _apply_blends(pixels, grey, chosen)
    return _apply_warps(pixels, chosen).to(torch.uint8, memory_format=torch.channels_last)


class _Chosen:
    """The operation and the magnitude of each sample, (N, 1, 1, 1) each."""

    def __init__(self, operation: Tensor, magnitude: Tensor) -> None:
        self._operation, self._magnitude = operation[:, None, None, None], magnitude[:, None, None, None]

    def where(self, name: str) -> Tensor:
        return self._operation == OPERATIONS.index(name)

    def magnitude(self, name: str) -> Tensor:
        """Return the magnitudes of the samples with this operation, 0 for the others."""
        return self._magnitude * self.where(name)


def _apply_tables(images: Tensor, grey: Tensor, chosen: _Chosen) -> Tensor:
    """Apply the operations that map the levels of a channel; return float pixels (N, C, H, W)."""
    count, channels, height, width = images.shape
    levels = images.view(count, channels, 1, height * width)
    places = levels.long()
    low, high = levels.amin(3, keepdim=True).float(), levels.amax(3, keepdim=True).float()
    table = torch.arange(256, device=images.device, dtype=torch.float32)

    stretched = (table - low) / ((high - low).clamp(min=1) / 255)
    table = torch.where(chosen.where("autocontrast") & (high > low), stretched, table)
    factor = 1 + chosen.magnitude("brightness") + chosen.magnitude("contrast")
    table = blend(table, mean_level(grey) * chosen.where("contrast"), factor)
    inverted = chosen.where("solarize") & (table >= 255 * (1 - chosen.magnitude("solarize").abs()))
    table = torch.where(inverted, 255 - table, table)
    step = chosen.magnitude("posterize").abs().round().exp2()
    table = (table / step).floor_() * step
    table = torch.where(chosen.where("equalize"), _equalization_tables(places, high), table)
    return table.gather(3, places).view(images.shape)


def _equalization_tables(places: Tensor, high: Tensor) -> Tensor:
    """Return lookup tables of histogram equalisation, (N, C, 1, 256); the identity for channels with too few levels.

    Args:
        places: (N, C, 1, H * W) int64, the levels of all pixels.
        high: (N, C, 1, 1), the highest of them.
    """
    ones = torch.ones(1, dtype=torch.int32, device=places.device)
    counts = torch.zeros((*places.shape[:3], 256), dtype=torch.int32, device=places.device)
    counts.scatter_add_(3, places, ones.expand_as(places))
    below = (counts.cumsum(3) - counts).float()
    step = ((places.shape[3] - counts.gather(3, high.long())) / 255).floor_()
    table = ((below + step / 2) / step.clamp(min=1)).floor_().clamp_(max=255)
    return torch.where(step > 0, table, torch.arange(256, device=places.device, dtype=torch.float32))


def _apply_blends(pixels: Tensor, grey: Tensor, chosen: _Chosen) -> Tensor:
    """Apply the operations that blend each pixel with its grey value or its neighbourhood."""
    other = torch.where(chosen.where("colour"), grey, _smooth(pixels))
    return blend(pixels, other, 1 + chosen.magnitude("colour") + chosen.magnitude("sharpness"))


def _smooth(pixels: Tensor) -> Tensor:
    """Smooth with a 3 x 3 kernel of weight 5 in the centre and 1 elsewhere; border pixels are unchanged."""
    inner = pixels[:, :, 1:-1, 1:-1]
    columns = (pixels[:, :, :, :-2] + pixels[:, :, :, 1:-1]).add_(pixels[:, :, :, 2:])
    total = (columns[:, :, :-2] + columns[:, :, 1:-1]).add_(columns[:, :, 2:])
    soft = pixels.clone()
    soft[:, :, 1:-1, 1:-1] = total.add_(4 * inner).mul_(1 / 13).round_()
    return soft


def _apply_warps(pixels: Tensor, chosen: _Chosen) -> Tensor:
    """Apply the geometric operations. Shears keep the upper left corner fixed."""
    height, width = pixels.shape[2:]
    angle = (chosen.magnitude("rotate").double() * (math.pi / 180))[:, 0]
    # In double: cos and sin round differently in their vectorised loop and in the remainder of a tensor.
    cosine, sine = angle.cos().float(), angle.sin().float()
    shear_x, shear_y, move_x, move_y = (
        chosen.magnitude(name)[:, 0] for name in ("shear_x", "shear_y", "translate_x", "translate_y")
    )
    across = (torch.arange(width, device=pixels.device) - (width - 1) / 2)[None, None, :]
    down = (torch.arange(height, device=pixels.device) - (height - 1) / 2)[None, :, None]
    from_x = cosine * across + ((shear_x - sine) * down + (shear_x * (height / 2) - move_x.trunc()))
    from_y = (shear_y + sine) * across + (cosine * down + (shear_y * (width / 2) - move_y.trunc()))
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], 3)
    return F.grid_sample(pixels, grid, mode="nearest", align_corners=False)
