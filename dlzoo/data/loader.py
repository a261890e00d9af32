"""Loaders: batches on the device, each a function of the step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from dlzoo.core.distributed import SINGLE_PROCESS, Rank
from dlzoo.core.rng import Streams
from dlzoo.data.sampler import Sampler, drawn
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache, placed
from dlzoo.data.storage.lazy_images import moved
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import BatchTransform, Normalise


class Batch(NamedTuple):
    """images (N, C, H, W) float, normalised; labels (N, ...) as the task has them.

    In evaluation there may be several views of each image: (V * N, C, H, W), all images once, then once more. `sizes`
    (N, 2) is then the width and the height of images that were brought to another size, and `indices` says which
    samples of the split they are.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor | None = None
    indices: range = range(0)


class TrainLoader:
    """The training batches of a run. The order is redrawn every epoch; the last short batch is dropped.

    Args:
        split: the training samples.
        transform: stored images and labels -> what a step sees.
        sampler: which of them an epoch is made of.
        batch_size: samples of one optimizer step, over all ranks; a multiple of `accumulate` times the ranks.
        accumulate: micro-batches that one step is made of; a rank has an equal part of each.
        limit: at most so many steps an epoch.
        cache: where the images stay.
    """

    def __init__(
        self,
        split: Split,
        transform: BatchTransform,
        streams: Streams,
        batch_size: int,
        accumulate: int = 1,
        limit: int | None = None,
        *,
        sampler: Sampler = "uniform",
        rank: Rank = SINGLE_PROCESS,
        cache: Cache = "auto",
    ) -> None:
        self.split, self.transform, self.streams = split, transform, streams
        self.sampler: Sampler = sampler
        self.batch_size, self.accumulate, self.rank = batch_size, accumulate, rank
        self.cache: Cache = cache
        self.steps_per_epoch = min(len(split) // batch_size, limit or len(split))
        self._order = lru_cache(maxsize=2)(self._draw_order)  # reading ahead looks into the next epoch
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Make batches on `device`."""
        self.images = placed(self.split.images, self.cache, device, lambda step: self._samples(step))
        self._labels, self._device, self._epoch = self.split.labels.to(device), device, -1

    def batches(self, step: int) -> Iterator[Batch]:
        """The micro-batches of optimizer step `step`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._here = epoch, moved(self._order(epoch), self._device)
        places, samples = self._part(self._here, index)
        # By the place in the epoch, not by the sample: one that is seen twice is augmented in two ways.
        draw = self.streams.draw(places, "augment", epoch)
        images, labels = self.images.batch(step, samples).permute(0, 3, 1, 2), self._labels[samples]
        images, labels = self.transform(images, labels, draw, step)
        size = len(samples) // self.accumulate
        yield from map(Batch, images.split(size), labels.split(size))

    def order(self, epoch: int) -> Tensor:
        """The places of an epoch in their order: (N,) int64."""
        return self._order(epoch)[0]

    def _draw_order(self, epoch: int) -> Tensor:
        """(2, N): the places of an epoch in their order, and the sample at each."""
        places = self.streams.permutation(len(self.split), "order", epoch)
        return torch.stack([places, drawn(self.sampler, self.split.labels, self.streams, epoch)[places]])

    def _samples(self, step: int) -> Tensor:
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._part(self._order(epoch), index)[1]

    def _part(self, order: Tensor, index: int) -> Tensor:
        """Our places and samples of a step, (2, n), one micro-batch after the other."""
        step = order[:, index * self.batch_size : (index + 1) * self.batch_size]
        return step.reshape(2, self.accumulate, self.rank.world, -1)[:, :, self.rank.index].reshape(2, -1)


class EvalLoader:
    """Every sample of a split once, in order, without augmentation; or the first `limit` batches.

    Of images `shift` changes the pixels first, given the samples' draw, and `views` then says what is looked at.

    Ranks take turns, each as often as the others: ours are the batches rank, rank + world, ... of the split, and the
    last of them may not be there.
    """

    def __init__(
        self,
        split: Split,
        normalise: Normalise,
        batch_size: int,
        limit: int | None = None,
        *,
        views: Callable[[Tensor], list[Tensor]] = lambda images: [images],
        shift: Augment = lambda images, draw: images,
        rank: Rank = SINGLE_PROCESS,
        cache: Cache = "auto",
    ) -> None:
        self.split, self.normalise, self.rank = split, normalise, rank
        self.views, self.shift = views, shift
        self.cache: Cache = cache
        self.batch_size = min(batch_size, -(-len(split) // rank.world))
        self._batches = min(-(-len(split) // self.batch_size), limit or len(split))
        self.samples = min(len(split), self._batches * self.batch_size)
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Make batches on `device`."""
        self.images = placed(self.split.images, self.cache, device, self._indices)
        self._labels = self.split.labels.to(device)
        self._sizes = None if self.split.sizes is None else self.split.sizes.to(device)

    def __len__(self) -> int:
        return -(-self._batches // self.rank.world)

    def batch(self, number: int) -> Batch | None:
        """The batch `number` of ours, if there is one."""
        part = self._part(number)
        if part is None:
            return None
        views = self.views(self.shifted(self.images.batch(number, part), part))
        images = self.normalise(views[0] if len(views) == 1 else torch.cat(views))
        sizes = None if self._sizes is None else self._sizes[part]
        return Batch(images, self._labels[part], sizes, range(part.start, part.stop))

    def shifted(self, images: Tensor, part: slice | Tensor) -> Tensor:
        """The samples `part` of the split as they are tested: (n, H, W, C) -> (n, C, H, W)."""
        samples = torch.arange(len(self.split), device=images.device)[part]
        return self.shift(images.permute(0, 3, 1, 2), Streams(0).draw(samples, "shift"))

    def _part(self, number: int) -> slice | None:
        place = number * self.rank.world + self.rank.index
        start = place * self.batch_size
        return slice(start, min(start + self.batch_size, len(self.split))) if place < self._batches else None

    def _indices(self, number: int) -> Tensor | None:
        part = self._part(number)
        return None if part is None else torch.arange(part.start, part.stop)


@dataclass(frozen=True)
class Loaders:
    """Where the batches of a run come from, and how images are normalised in all of them."""

    normalise: Normalise
    train: TrainLoader
    val: EvalLoader | None
    test: EvalLoader

    @property
    def evaluated(self) -> dict[str, EvalLoader]:
        """split -> its loader."""
        return {"test": self.test} | ({} if self.val is None else {"val": self.val})

    def close(self) -> None:
        """Stop reading ahead."""
        for loader in (self.train, *self.evaluated.values()):
            loader.images.close()
