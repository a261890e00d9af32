"""Loaders: batches on the device, each a function of the step only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from dlzoo.core.distributed import SINGLE_PROCESS, Rank
from dlzoo.core.rng import Draw, Streams
from dlzoo.data.batch_labels import BatchLabels
from dlzoo.data.sampler import Sampler, draw_samples
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache, place_images
from dlzoo.data.storage.lazy_images import copy_to_device
from dlzoo.data.transforms.augment import Augment
from dlzoo.data.transforms.batch import BatchTransform, Normalise


class Batch(NamedTuple):
    """A batch: images (N, C, H, W) float, normalised; labels (N, ...) as the task defines them.

    In evaluation there may be several views of each image: (V * N, C, H, W), view by view. `sizes` (N, 2) are then the
    original width and height of resized images, and `indices` the indices of the samples in the split.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor | None = None
    indices: range = range(0)


class TrainLoader:
    """The training batches of a run. Samples are reshuffled every epoch; an incomplete last batch is dropped.

    Args:
        split: the training samples.
        transform: stored images and labels -> images and labels of a step.
        sampler: how the samples of an epoch are drawn.
        batch_size: samples per optimizer step, over all ranks; a multiple of `accumulate` times the ranks.
        accumulate: micro-batches per step; each rank has an equal part of each.
        steps_per_epoch: the number of steps per epoch, default: as many as there are full batches.
        cache: where the images are kept.
    """

    def __init__(
        self,
        split: Split,
        transform: BatchTransform,
        streams: Streams,
        batch_size: int,
        accumulate: int = 1,
        steps_per_epoch: int | None = None,
        *,
        sampler: Sampler = "uniform",
        rank: Rank = SINGLE_PROCESS,
        cache: Cache = "auto",
    ) -> None:
        self.split, self.transform, self.streams = split, transform, streams
        self.sampler: Sampler = sampler
        self.batch_size, self.accumulate, self.rank = batch_size, accumulate, rank
        self.cache: Cache = cache
        self.steps_per_epoch = steps_per_epoch or len(split) // batch_size
        self._labels = BatchLabels(split.labels)
        self._order = lru_cache(maxsize=2)(self._draw_order)  # prefetching needs the next epoch's order too
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Make batches on `device` from now on."""
        self.images = place_images(self.split.images, self.cache, device, self._samples, self._seeds)
        self._labels.to(device)
        self._device, self._epoch = device, -1

    def batches(self, step: int) -> Iterator[Batch]:
        """Yield this rank's micro-batches of optimizer step `step`."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._here = epoch, copy_to_device(self._order(epoch), self._device)
        places, samples = self._part(self._here, index)
        draw = self._draw(places, epoch)
        labels = self._labels.take(samples, lambda: self._samples(step))
        images, labels = self.split.separate(self.images.batch(step, samples), labels)
        images, labels = self.transform(images.permute(0, 3, 1, 2), labels, draw, step)
        size = len(samples) // self.accumulate
        yield from map(Batch, images.split(size), labels.split(size))

    def order(self, epoch: int) -> Tensor:
        """Return the shuffled positions of an epoch: (N,) int64."""
        return self._order(epoch)[0]

    def _draw_order(self, epoch: int) -> Tensor:
        """Draw the shuffled positions of an epoch, and the sample at each: (2, N)."""
        places = self.streams.permutation(len(self.split), "order", epoch)
        return torch.stack([places, draw_samples(self.sampler, self.split.labels, self.streams, epoch)[places]])

    def _samples(self, step: int) -> Tensor:
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._part(self._order(epoch), index)[1]

    def _seeds(self, step: int) -> list[int]:
        """Return a seed for each sample of a step, for transforms of a given data set."""
        epoch, index = divmod(step, self.steps_per_epoch)
        return self._draw(self._part(self._order(epoch), index)[0], epoch).seeds("item")

    def _draw(self, places: Tensor, epoch: int) -> Draw:
        """Return random numbers by position in the epoch: a sample that is drawn twice is augmented in two ways."""
        return self.streams.draw(places, "augment", epoch)

    def _part(self, order: Tensor, index: int) -> Tensor:
        """Return this rank's positions and samples of a step, (2, n), one micro-batch after the other."""
        step = order[:, index * self.batch_size : (index + 1) * self.batch_size]
        return step.reshape(2, self.accumulate, self.rank.world_size, -1)[:, :, self.rank.rank].reshape(2, -1)


class EvalLoader:
    """The evaluation batches of a split: every sample once, in order, without augmentation; or `limit` batches.

    `shift` corrupts the pixels first, given the samples' random numbers, and `views` then makes the evaluated views.

    Batches are shared out in turn: this rank has the batches rank, rank + world, ... of the split. Every rank has the
    same number, so its last one may be None.
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
        self.batch_size = min(batch_size, -(-len(split) // rank.world_size))
        self._batches = min(-(-len(split) // self.batch_size), limit or len(split))
        self.samples = min(len(split), self._batches * self.batch_size)
        self.to(torch.device("cpu"))

    def to(self, device: torch.device) -> None:
        """Make batches on `device` from now on."""
        self.images = place_images(self.split.images, self.cache, device, self._indices)
        self._labels = self.split.labels.to(device)
        self._sizes = None if self.split.sizes is None else self.split.sizes.to(device)

    def __len__(self) -> int:
        return -(-self._batches // self.rank.world_size)

    def batch(self, number: int) -> Batch | None:
        """Return this rank's batch `number`, or None if the split has none left."""
        part = self._part(number)
        if part is None:
            return None
        images, labels = self.split.separate(self.images.batch(number, part), self._labels[part])
        views = self.views(self.apply_shift(images, part))
        images = self.normalise(views[0] if len(views) == 1 else torch.cat(views))
        sizes = None if self._sizes is None else self._sizes[part]
        return Batch(images, labels, sizes, range(part.start, part.stop))

    def apply_shift(self, images: Tensor, part: slice | Tensor) -> Tensor:
        """Apply the distribution shift to the samples `part` of the split: (n, H, W, C) -> (n, C, H, W)."""
        samples = torch.arange(len(self.split), device=images.device)[part]
        return self.shift(images.permute(0, 3, 1, 2), Streams(0).draw(samples, "shift"))

    def _part(self, number: int) -> slice | None:
        place = number * self.rank.world_size + self.rank.rank
        start = place * self.batch_size
        return slice(start, min(start + self.batch_size, len(self.split))) if place < self._batches else None

    def _indices(self, number: int) -> Tensor | None:
        part = self._part(number)
        return None if part is None else torch.arange(part.start, part.stop)


@dataclass(frozen=True)
class Loaders:
    """The loaders of a run, and the normalisation that all of them use."""

    normalise: Normalise
    train: TrainLoader
    val: EvalLoader | None
    test: EvalLoader

    @property
    def evaluated(self) -> dict[str, EvalLoader]:
        """The evaluation loaders by split name."""
        return {"test": self.test} | ({} if self.val is None else {"val": self.val})

    def facts(self) -> dict[str, int]:
        """Return the field of run.json with the number of samples that a validation evaluates, if there is one."""
        return {} if self.val is None else {"validated": self.val.samples}

    def close(self) -> None:
        """Stop prefetching."""
        for loader in (self.train, *self.evaluated.values()):
            loader.images.close()
