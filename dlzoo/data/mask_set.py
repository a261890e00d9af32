"""Segmentation data sets: images with a class for each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Images, Split, channel_statistics

#: The value of a pixel of a mask whose class is not known; it is neither trained on nor measured.
IGNORED = 255
#: Masks that are counted at a time.
_PART = 64


@dataclass(frozen=True)
class MaskSet(DataSet):
    """Segmentation data set: splits of images whose last channel is a mask (`mask_split`).

    Args:
        crop: the side in pixels of the random windows of images that are trained on; None for whole images.
        skipped: the number of unreadable images that were left out.
        value_range: the values of 16-bit images that became 0 and 255.
        colours: the colour of each class in pictures, as its masks have it; () if they have none.
        remarks: notes on the masks for the user.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    crop: int | None = None
    skipped: int = 0
    value_range: tuple[int, int] | None = None
    colours: tuple[tuple[int, int, int], ...] = ()
    remarks: tuple[str, ...] = ()
    task: str = "segment"

    kind: ClassVar[str] = "masks"

    def statistics(self, train: Split) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each channel; the padding of the canvas counts."""
        mean, deviation = channel_statistics(train.images)
        return mean[:-1], deviation[:-1]

    def facts(self) -> dict[str, Any]:
        return {
            "skipped": self.skipped,
            "value_range": self.value_range,
            "colours": [list(rgb) for rgb in self.colours],
        }

    def notes(self) -> list[str]:
        return list(self.remarks)


def mask_split(images: Images, num_classes: int, sizes: Tensor | None = None) -> Split:
    """Return the split of images (N, H, W, C + 1) uint8 whose last channel is a mask.

    Args:
        images: the images, each at the top left of its canvas; masks have classes from 0 and 255 (IGNORED) elsewhere.
        num_classes: K.
        sizes: (N, 2) int64, the width and height of each image; None if they fill the canvas.

    Raises:
        UserError: for a value of a mask that is no class.
    """
    if sizes is None:
        sizes = torch.tensor([[images.shape[2], images.shape[1]]]).repeat(images.shape[0], 1)
    return Split(images, count_pixels(images, num_classes), sizes, has_masks=True)


def count_pixels(images: Images, num_classes: int) -> Tensor:
    """Return how many pixels of each class the masks of images (N, H, W, C + 1) have: (N, K) int64.

    Raises:
        UserError: for a value that is no class.
    """
    counts = []
    for start in range(0, images.shape[0], _PART):
        masks = images[start : start + _PART][..., -1].flatten(1)
        cells = masks + (torch.arange(len(masks)) * 256)[:, None]
        every = cells.flatten().bincount(minlength=256 * len(masks)).view(-1, 256)
        if len(wrong := every[:, num_classes:IGNORED].sum(0).nonzero()):
            raise UserError(f"a mask has the value {num_classes + int(wrong[0])}, but there are {num_classes} classes;"
                            f" values are classes from 0, or {IGNORED} where a pixel is ignored")  # fmt: skip
        counts.append(every[:, :num_classes])
    return torch.cat(counts)
