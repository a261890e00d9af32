"""Mosaics of four images that meet at a random point, each filling its quarter (arXiv:2004.10934, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dlzoo.core.rng import Draw
from dlzoo.data.mask_set import IGNORED
from dlzoo.data.transforms.affine import extent, move_masks, move_pixels, to_bytes
from dlzoo.data.transforms.letterbox import GREY


@dataclass(frozen=True)
class Quarter:
    """A quarter of the mosaics of a batch.

    Args:
        partner: (N,) the image of the batch that fills it.
        scale, offset: (N, 2) the image is moved from x to x * scale + offset.
        inside: (N, 1, H, W) bool, the pixels of the quarter.
    """

    partner: Tensor
    scale: Tensor
    offset: Tensor
    inside: Tensor


def draw_quarters(images: Tensor, draw: Draw) -> list[Quarter]:
    """Return the four quarters of a mosaic of each image (N, C, H, W), which fills the first one itself.

    The others are images of the same batch, distinct if it is large enough.
    """
    size = extent(images)
    centre = (size * (0.25 + 0.5 * draw.uniform("centre", 2))).round()
    edges, quarters = (torch.zeros_like(size), centre, size), []
    for number, partner in enumerate(_partners(draw, 4)):
        right, down = number % 2, number // 2
        low = torch.stack([edges[right][:, 0], edges[down][:, 1]], 1)
        high = torch.stack([edges[right + 1][:, 0], edges[down + 1][:, 1]], 1)
        scale = ((high - low) / size).amax(1, keepdim=True).clamp(min=1e-3).expand(-1, 2)
        # An image on the left or above ends where the four meet, the others begin there.
        before = torch.stack([scale[:, 0] * size[:, 0] * (1 - right), scale[:, 1] * size[:, 1] * (1 - down)], 1)
        quarters.append(Quarter(partner, scale, centre - before, _mask_between(images, low, high)))
    return quarters


def compose_images(images: Tensor, quarters: Sequence[Quarter], chosen: Tensor) -> Tensor:
    """Replace the images (N, C, H, W) uint8 that are `chosen` (N,) bool by their mosaics."""
    canvas = torch.full_like(images, GREY, dtype=torch.float32)
    for quarter in quarters:
        piece = move_pixels(images[quarter.partner].float(), quarter.scale, quarter.offset, fill=GREY)
        canvas = torch.where(quarter.inside, piece, canvas)
    return torch.where(chosen[:, None, None, None], to_bytes(canvas), images)


def compose_masks(masks: Tensor, quarters: Sequence[Quarter], chosen: Tensor) -> Tensor:
    """Replace the masks (N, H, W) uint8 of the images that are `chosen` (N,) bool by those of their mosaics."""
    canvas = torch.full_like(masks, IGNORED)
    for quarter in quarters:
        piece = move_masks(masks[quarter.partner], quarter.scale, quarter.offset)
        canvas = torch.where(quarter.inside[:, 0], piece, canvas)
    return torch.where(chosen[:, None, None], canvas, masks)


def _partners(draw: Draw, count: int) -> list[Tensor]:
    """Return `count` index tensors (N,): each sample itself, then other ones, distinct if the batch is large enough."""
    order = draw.uniform("partner").argsort(stable=True)
    place = order.argsort(stable=True)
    return [order.roll(-number)[place] for number in range(count)]


def _mask_between(images: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return a mask (N, 1, H, W) of the pixels between `low` and `high`, (N, 2) each."""
    inside = []
    for axis, length in enumerate((images.shape[3], images.shape[2])):
        middles = torch.arange(length, device=images.device) + 0.5
        inside.append((middles > low[:, axis, None]) & (middles < high[:, axis, None]))
    return (inside[1][:, :, None] & inside[0][:, None, :])[:, None]
