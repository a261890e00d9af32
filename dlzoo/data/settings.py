"""Settings that every data set shares, and the splits that they cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

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
    """

    batch_size: PositiveInt | Literal["full"] = 64
    val_fraction: Fraction = 0.1
    limit: PositiveInt | None = None
    split_seed: NonNegativeInt = 0

    def splits(self, images: ImageSet) -> tuple[Split, Split | None, Split]:
        """(train, val, test).

        Raises:
            UserError: if nothing is left to train or to validate on.
        """
        train, val = images.train, images.val
        if val is None and self.val_fraction > 0:
            train, val = cut(train, self.val_fraction, self.split_seed)
            if not len(train) or not len(val):
                raise UserError(
                    f"data.val_fraction={self.val_fraction:g} of {len(images.train)} images leaves {len(train)}"
                    f" to train on and {len(val)} to validate on"
                )
        return self._limited(train), self._limited(val) if val else None, self._limited(images.test)

    def _limited(self, split: Split) -> Split:
        if self.limit is None or self.limit >= len(split):
            return split
        return split.take(balanced_order(split.labels, self.split_seed)[: self.limit].sort().values)

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
    rank = rank_in_class(split.labels, seed)
    size = split.labels.bincount().double().mul(fraction).round().long()
    chosen = rank < size[split.labels]
    return split.take((~chosen).nonzero().flatten()), split.take(chosen.nonzero().flatten())


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
