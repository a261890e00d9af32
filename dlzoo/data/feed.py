"""Feeds: batches made on the device, each a function of the step alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dlzoo.data.augment import Augment
from dlzoo.data.image_set import Split
from dlzoo.streams import Streams


class Batch(NamedTuple):
    """images (N, C, H, W) float, normalised; labels (N,) int64."""

    images: Tensor
    labels: Tensor


class Normalise(nn.Module):
    """uint8 images (N, C, H, W) to floats of mean 0 and deviation 1 per channel; mean and deviation are (C,), 0 to 1.

    A module, so that a checkpoint knows how its network wants to see images.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, -1, 1, 1))
        self.register_buffer("shift", (-mean / deviation).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale)


class TrainFeed:
    """The training batches of a run. The order is redrawn every epoch; the last short batch is dropped.

    Args:
        split: the training images.
        batch_size: samples of one optimizer step.
        accumulate: micro-batches that one step is made of.
        limit: at most so many steps an epoch.
    """

    def __init__(
        self,
        split: Split,
        normalise: Normalise,
        augment: Augment,
        streams: Streams,
        batch_size: int,
        accumulate: int = 1,
        limit: int | None = None,
    ) -> None:
        self.split, self.normalise, self.augment, self.streams = split, normalise, augment, streams
        self.batch_size, self.accumulate = batch_size, accumulate
        self.steps_per_epoch = min(len(split) // batch_size, limit or len(split))
        self._epoch, self._order = -1, torch.empty(0)

    def to(self, device: torch.device) -> None:
        self.split = Split(self.split.images.to(device), self.split.labels.to(device))

    def batches(self, step: int) -> Iterator[Batch]:
        """The micro-batches of optimizer step `step`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = self.streams.permutation(len(self.split), "order", epoch)
            self._epoch, self._order = epoch, order.to(self.split.labels.device)
        samples = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        for part in samples.split(self.batch_size // self.accumulate):
            images = self.split.images[part].permute(0, 3, 1, 2)
            images = self.augment(images, self.streams.draw(part, "augment", epoch))
            yield Batch(self.normalise(images), self.split.labels[part])


class EvalFeed:
    """Every sample of a split once, in order, without augmentation; or the first `limit` batches."""

    def __init__(self, split: Split, normalise: Normalise, batch_size: int, limit: int | None = None) -> None:
        self.split, self.normalise, self.batch_size, self.limit = split, normalise, batch_size, limit

    def to(self, device: torch.device) -> None:
        self.split = Split(self.split.images.to(device), self.split.labels.to(device))

    def __len__(self) -> int:
        return min(-(-len(self.split) // self.batch_size), self.limit or len(self.split))

    def batch(self, index: int) -> Batch:
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return Batch(self.normalise(self.split.images[part].permute(0, 3, 1, 2)), self.split.labels[part])
