"""Data sets that were given as objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlzoo.data.box_set import BoxSet
from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split, channel_statistics
from dlzoo.data.storage.given_images import GivenImages


class _OfItems(DataSet):
    """What data sets with images of given items have in common; float images are used as they are."""

    remarks: tuple[str, ...]

    @property
    def is_float(self) -> bool:
        return isinstance(self.train.images, GivenImages) and self.train.images.layout.dtype != torch.uint8

    def statistics(self, train: Split) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of each channel, for values 0 to 1; those that change nothing for float images."""
        if not self.is_float:
            return channel_statistics(train.images)
        channels = train.images.shape[3]
        return torch.zeros(channels), torch.full((channels,), 1 / 255)

    def facts(self) -> dict[str, Any]:
        return {"float_images": self.is_float}

    def notes(self) -> list[str]:
        return list(self.remarks)


@dataclass(frozen=True)
class GivenSet(_OfItems):
    """Images with classes or numbers, from data sets that were given as objects.

    Args:
        remarks: notes for the user.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    task: str = "classify"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class GivenBoxSet(_OfItems, BoxSet):
    """Images with objects, from data sets that were given as objects.

    Args:
        remarks: notes for the user.
    """

    remarks: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        return BoxSet.facts(self) | super().facts()
