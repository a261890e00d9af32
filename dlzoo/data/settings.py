"""Settings that all data sets share, and how they split the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.core.schema import BelowOne, Bounds, Fraction, PositiveInt, Seed
from dlzoo.data.data_set import DataSet, TargetKind
from dlzoo.data.sampler import Sampler
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.transforms.corruptions import Shift

#: Fraction of the images of a folder that becomes the test split if there is none.
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class DataSettings:
    """How a data set is split, made harder, and put into batches.

    `batch_size`: samples per optimizer step, over all processes; "full" is batch gradient descent.
    `val_fraction`: the fraction of train that becomes validation, drawn by `split_seed`, class by class; 0 for none.
    `limit`: the maximum number of samples per split, a fixed and class-balanced part.
    `imbalance`: the ratio of training samples between the first class and the last one; in between the numbers fall
    exponentially (arXiv:1901.05555, section 5.1). Validation and test are not changed.
    `label_noise`: the fraction of training labels replaced by another class, drawn uniformly by `split_seed`.
    `sampler`: how an epoch is drawn: uniform has each sample once; balanced draws each class equally often, with
    replacement; bootstrap replaces the training split by one draw of its size with replacement, by the run's seed.
    `test_shift`: brightness, blur or noise on the test split, with the constants of CIFAR-10-C (arXiv:1903.12261).
    `cache`: where decoded images are kept, auto is the first place with enough room; disk and none are for sets of
    image files, which none decodes in each epoch. It changes the speed, never a result.
    """

    batch_size: PositiveInt | Literal["full"] = 64
    val_fraction: Fraction = 0.1
    limit: PositiveInt | None = None
    split_seed: Seed = 0
    imbalance: Annotated[float, Bounds(minimum=1)] = 1.0
    label_noise: BelowOne = 0.0
    sampler: Sampler = "uniform"
    test_shift: Shift = "none"
    test_severity: Annotated[int, Bounds(minimum=1, maximum=5)] = 3
    cache: Cache = "auto"

    def splits(self, images: DataSet, target: TargetKind) -> tuple[Split, Split | None, Split]:
        """Return (train, val, test), split class by class if the target is a single class.

        Raises:
            UserError: if a split would be empty, or a setting does not suit the data.
        """
        self._refuse(images, target)
        by_class = target.single_class
        train, val = self._train_and_val(images, by_class)
        if self.imbalance > 1:  # otherwise skipped: take copies the images
            train = train.take(self._long_tailed(train.labels))
        return self._noisy(train), val, images.test.take(self._limited(images.test.labels, by_class))

    def _train_and_val(self, images: DataSet, by_class: bool) -> tuple[Split, Split | None]:
        # The indices are split, and samples taken once: the images may be a file larger than the memory.
        everything = torch.arange(len(images.train))
        if images.val is not None:
            val = images.val.take(self._limited(images.val.labels, by_class))
            return images.train.take(self._limited(images.train.labels, by_class)), val
        if self.val_fraction == 0:
            return images.train.take(self._limited(images.train.labels, by_class)), None
        chosen = choose_of_each_class(images.train.labels, self.val_fraction, self.split_seed, by_class=by_class)
        rest, part = everything[~chosen], everything[chosen]
        if not len(rest) or not len(part):
            raise UserError(
                f"data.val_fraction={self.val_fraction:g} of {len(everything)} samples leaves {len(rest)} for training"
                f" and {len(part)} for validation; choose another fraction, or 0"
            )
        labels = images.train.labels
        rest, part = rest[self._limited(labels[rest], by_class)], part[self._limited(labels[part], by_class)]
        return images.train.take(rest), images.train.take(part)

    def _refuse(self, images: DataSet, target: TargetKind) -> None:
        """Check that the settings suit the data.

        Raises:
            UserError: for settings that need classes or images.
        """
        if not target.single_class:
            what = target.words
            for key, unset in (("imbalance", 1.0), ("label_noise", 0.0)):
                if getattr(self, key) != unset:
                    raise UserError(f"data.{key} is for classes, but this data has {what}; leave it out")
            if self.sampler == "balanced":
                raise UserError(f"data.sampler=balanced is for classes, but this data has {what}; leave it out")
        if self.test_shift != "none" and images.kind == "table":
            raise UserError(f"data.test_shift={self.test_shift} is for images, but this data is a table; leave it out")

    def _long_tailed(self, labels: Tensor) -> Tensor:
        """Return indices of the training samples that `imbalance` keeps: n * imbalance ** (-k / (K - 1)) of class k.

        n is the largest number for which every class has enough samples.
        """
        counts = labels.bincount()
        place = torch.arange(len(counts)) / max(1, len(counts) - 1)
        share = self.imbalance ** -place.double()
        most = ((counts / share).min() * share).round().long().clamp(min=1)
        return (rank_in_class(labels, self.split_seed) < most[labels]).nonzero().flatten()

    def _noisy(self, split: Split) -> Split:
        """Return the split with a fraction `label_noise` of its labels shifted by 1 to K - 1 classes."""
        if self.label_noise == 0:
            return split
        streams, count = Streams(self.split_seed), len(split)
        classes = int(split.labels.max()) + 1
        wrong = streams.permutation(count, "noisy labels")[: round(self.label_noise * count)]
        by = streams.draw(wrong, "noisy labels").integers("by", classes - 1) + 1
        labels = split.labels.clone()
        labels[wrong] = (labels[wrong] + by) % classes
        return Split(split.images, labels)

    def _limited(self, labels: Tensor, by_class: bool) -> Tensor:
        """Return indices of the samples that `limit` keeps."""
        if self.limit is None or self.limit >= len(labels):
            return torch.arange(len(labels))
        return balanced_order(labels, self.split_seed, by_class=by_class)[: self.limit].sort().values

    def global_batch(self, train: Split) -> int:
        """Return the batch size as a number.

        Raises:
            UserError: if it is larger than the training split.
        """
        if self.batch_size == "full":
            return len(train)
        if self.batch_size > len(train):
            raise UserError(
                f"data.batch_size={self.batch_size} is larger than the {len(train)} training samples;"
                f" choose at most that, or data.batch_size=full"
            )
        return self.batch_size


def rows_of_parts(sizes: Mapping[str, int], labels: Tensor, root: Path, *, by_class: bool) -> dict[str, Tensor]:
    """Return train, test and, if present, val -> the indices of its images, which are ordered by part.

    Without test, val is the test split; with train only, a fixed fifth of all or of each class is.

    Args:
        sizes: part -> the number of its images.
        labels: (N,), of all images; only their number counts unless `by_class`.
        root: the folder, for the error.

    Raises:
        UserError: if there are too few images to split off a test set.
    """
    if len(sizes) == 1:
        test = choose_of_each_class(labels, TEST_FRACTION, seed=0, by_class=by_class)
        if not test.any():
            raise UserError(f"data.root: {len(labels)} images in {str(root)!r} are too few to split off a test set")
        return {"train": (~test).nonzero().flatten(), "test": test.nonzero().flatten()}
    rows = dict(zip(sizes, torch.arange(len(labels)).split(list(sizes.values())), strict=True))
    return rows if "test" in rows else {"train": rows["train"], "test": rows["val"]}


def cut(split: Split, fraction: float, seed: int, *, by_class: bool) -> tuple[Split, Split]:
    """Split into (rest, part): the part has `fraction` of all or of each class, drawn by `seed`; order is kept."""
    chosen = choose_of_each_class(split.labels, fraction, seed, by_class=by_class)
    return split.take((~chosen).nonzero().flatten()), split.take(chosen.nonzero().flatten())


def choose_of_each_class(labels: Tensor, fraction: float, seed: int, *, by_class: bool) -> Tensor:
    """Return a mask (N,) bool of a random `fraction` of all or of each class, rounded, fixed by `seed`.

    Where the classes are so small that rounding each leaves less than half of the fraction of all (a tenth of two is
    none), the sizes are rounded by largest remainder instead: they add up to the fraction of all, every class keeps at
    least one sample outside, and equal remainders are drawn by `seed`. Other data keep the sizes that are rounded class
    by class, so that their splits are those of earlier versions.
    """
    labels = _strata(labels, by_class)
    counts = labels.bincount()
    size = counts.double().mul(fraction).round().long()
    total = round(fraction * len(labels))
    if 2 * int(size.sum()) < total:
        size = _largest_remainder(counts, fraction, total, seed)
    return rank_in_class(labels, seed) < size[labels]


def _largest_remainder(counts: Tensor, fraction: float, total: int, seed: int) -> Tensor:
    """Return the sizes of the parts of classes, (K,) int64: `fraction` of each, rounded to add up to `total`."""
    exact = counts.double() * fraction
    size, most = exact.floor().long(), (counts - 1).clamp(min=0)
    shuffled = Streams(seed).permutation(len(counts), "split", "classes")
    order = shuffled[(exact - size)[shuffled].sort(descending=True, stable=True).indices]
    order = order[size[order] < most[order]]
    size[order[: max(0, total - int(size.sum()))]] += 1
    return size


def balanced_order(labels: Tensor, seed: int, *, by_class: bool) -> Tensor:
    """Return an order of the samples, fixed by `seed`, each prefix of which is as class-balanced as possible."""
    labels = _strata(labels, by_class)
    rank = rank_in_class(labels, seed)
    return (rank * (labels.max() + 1) + labels).argsort()


def _strata(labels: Tensor, by_class: bool) -> Tensor:
    """Return the class of each sample, or one class for all: (N,) int64."""
    return labels if by_class else labels.new_zeros(len(labels), dtype=torch.int64)


def rank_in_class(labels: Tensor, seed: int) -> Tensor:
    """Return each sample's rank within its class in a random order fixed by `seed`: (N,) int64."""
    order = Streams(seed).permutation(len(labels), "split")
    by_class = order[labels[order].argsort(stable=True)]
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return rank
