"""Settings that every data set shares, and the splits that they cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dlzoo.data.cache import Cache
from dlzoo.data.image_set import ImageSet, Split
from dlzoo.errors import UserError
from dlzoo.knobs import Fraction, NonNegativeInt, PositiveInt
from dlzoo.streams import Streams


@dataclass(frozen=True)
class DataSettings:
    """How a set is cut and put into batches.

    `batch_size`: samples of one optimizer step, over all processes; "full" is batch gradient descent.
    `val_fraction`: the share of train that becomes validation, cut by `split_seed`, class by class; 0 for none.
    `limit`: at most so many samples of each split, a fixed and class-balanced part.
    `cache`: where decoded images stay, auto is the first that has room; disk and none are for sets that come as
    picture files, which none decodes anew for each epoch. It changes the speed, never a number.
    """

    batch_size: PositiveInt | Literal["full"] = 64
    val_fraction: Fraction = 0.1
    limit: PositiveInt | None = None
    split_seed: NonNegativeInt = 0
    cache: Cache = "auto"

    def splits(self, images: ImageSet) -> tuple[Split, Split | None, Split]:
        """(train, val, test).

        Raises:
            UserError: if nothing is left to train or to validate on.
        """
        # Indices are cut, and samples taken once: the images may be a file larger than the memory.
        everything = torch.arange(len(images.train))
        if images.val is not None:
            val = images.val.take(self._limited(images.val.labels))
            return images.train.take(self._limited(images.train.labels)), val, self._test(images)
        if self.val_fraction == 0:
            return images.train.take(self._limited(images.train.labels)), None, self._test(images)
        chosen = chosen_of_each_class(images.train.labels, self.val_fraction, self.split_seed)
        rest, part = everything[~chosen], everything[chosen]
        if not len(rest) or not len(part):
            raise UserError(
                f"data.val_fraction={self.val_fraction:g} of {len(everything)} images leaves {len(rest)} to train on"
                f" and {len(part)} to validate on; choose another share, or 0"
            )
        labels = images.train.labels
        rest, part = rest[self._limited(labels[rest])], part[self._limited(labels[part])]
        return images.train.take(rest), images.train.take(part), self._test(images)

    def _test(self, images: ImageSet) -> Split:
        return images.test.take(self._limited(images.test.labels))

    def _limited(self, labels: Tensor) -> Tensor:
        """Indices of what `limit` leaves of a split."""
        if self.limit is None or self.limit >= len(labels):
            return torch.arange(len(labels))
        return balanced_order(labels, self.split_seed)[: self.limit].sort().values

    def global_batch(self, train: Split) -> int:
        """The batch size as a number.

        Raises:
            UserError: if it is larger than the set.
        """
        if self.batch_size == "full":
            return len(train)
        if self.batch_size > len(train):
            raise UserError(
                f"data.batch_size={self.batch_size} is larger than the {len(train)} training images;"
                f" choose at most that, or data.batch_size=full"
            )
        return self.batch_size


def cut(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """(rest, part): the part has `fraction` of each class, chosen by `seed`; both keep their order."""
    chosen = chosen_of_each_class(split.labels, fraction, seed)
    return split.take((~chosen).nonzero().flatten()), split.take(chosen.nonzero().flatten())


def chosen_of_each_class(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """(N,) bool: a random `fraction` of each class, rounded, fixed by `seed`."""
    size = labels.bincount().double().mul(fraction).round().long()
    return rank_in_class(labels, seed) < size[labels]


def balanced_order(labels: Tensor, seed: int) -> Tensor:
    """An order of the samples, fixed by `seed`, each prefix of which holds the classes as evenly as it can."""
    rank = rank_in_class(labels, seed)
    return (rank * (labels.max() + 1) + labels).argsort()


def rank_in_class(labels: Tensor, seed: int) -> Tensor:
    """For each sample, its place among those of its class in a random order fixed by `seed`: (N,) int64."""
    order = Streams(seed).permutation(len(labels), "split")
    by_class = order[labels[order].argsort(stable=True)]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank
