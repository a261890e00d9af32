"""Splits: samples with their labels, as uint8 images in memory or read on demand, or as rows of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from dlzoo.data.storage.given_images import GivenImages
from dlzoo.data.storage.lazy_images import LazyImages
from dlzoo.data.storage.remember import digest, remember

T = TypeVar("T")

Images = Tensor | LazyImages | GivenImages

#: Values that are processed at a time.
_PART = 4_000_000
#: Values that are read for statistics and fingerprints; of a larger set, every k-th image.
_MOST = 200_000_000


@dataclass(frozen=True)
class Split:
    """A split: images (N, H, W, C) uint8, or rows of a table (N, 1, 1, C); labels (N,) int64 or (N, D) float64.

    Images of given data sets may be float32.

    For images with objects the labels are (N, M, 6) float32 (boxes.objects), in pixels of these images, and `sizes`
    (N, 2) int64 are the original width and height of the images. `rows` (N,) int64 are the places of the images in the
    data set's list of files, where it has one.

    With `has_masks` the last channel of the images is a mask, the class of each pixel or 255 where it is not known: a
    mask is stored, cached and read ahead as its image is. The labels are then (N, K) int64, how many pixels each class
    has, and `sizes` the width and height of each image, which is at the top left of its canvas.
    """

    images: Images
    labels: Tensor
    sizes: Tensor | None = None
    rows: Tensor | None = None
    has_masks: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """Return the samples at `indices`, in that order."""
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.take(indices)
        sizes, rows = (None if each is None else each[indices] for each in (self.sizes, self.rows))
        return replace(self, images=images, labels=self.labels[indices], sizes=sizes, rows=rows)

    @property
    def channels(self) -> int:
        """The number of channels of an image, without its mask."""
        return self.images.shape[3] - self.has_masks

    def separate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixels (n, H, W, C) of stored images, and their targets: the masks (n, H, W), or else `labels`."""
        return (images[..., :-1], images[..., -1]) if self.has_masks else (images, labels)

    def in_memory(self) -> Split:
        """Return the split with its images read into memory, if they can be kept there."""
        return replace(self, images=self.images[:] if isinstance(self.images, Tensor) else self.images.in_memory())


def fingerprint(*splits: Split | None) -> str:
    """Return a hash of all labels and pixels, in order: equal on two machines that train on the same data.

    In a split of more than 200 million values only every k-th image is read: reading all of them would take minutes at
    each start. Of given data sets some images are read. The result for images in files is cached.
    """
    used = [split for split in splits if split is not None]

    def compute() -> str:
        hashed = hashlib.blake2b(digest_size=8)
        for split in used:
            pixels = split.images.sample() if isinstance(split.images, GivenImages) else _subsample(split.images)
            hashed.update(pixels.contiguous().numpy().data)
            hashed.update(split.labels.contiguous().numpy().data)
        return hashed.hexdigest()

    return _remember("fingerprints", [split.images for split in used], [split.labels for split in used], compute)


def _remember(what: str, images: Sequence[Images], labels: Sequence[Tensor], find: Callable[[], T]) -> T:
    """Return what `find` computes from images, kept in the cache folder if all of them are read from files."""
    stamps, hashed = [], hashlib.blake2b(digest_size=8)
    for each in images:
        if isinstance(each, Tensor) or not each.stamp:
            return find()
        stamps.append(each.stamp)
        hashed.update(f"{len(each.rows)} ".encode())
        hashed.update(each.rows.numpy().data)
    for each in labels:
        hashed.update(each.contiguous().numpy().data)
    return remember(what, hashed.hexdigest(), digest(stamps), find)


def _subsample(images: Images) -> Tensor:
    """Return all images, or every k-th of a large set."""
    step = -(-images.shape.numel() // _MOST)
    return images[:] if step == 1 else images[::step]


def channel_statistics(images: Images) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel of uint8 images (N, H, W, C), scaled to 0 to 1: (C,), (C,).

    Computed from integer sums; a constant channel has the standard deviation 1.
    """
    mean, deviation = _remember("statistics", [images], [], lambda: _statistics(_subsample(images)))
    return torch.tensor(mean), torch.tensor(deviation)


def _statistics(images: Tensor) -> tuple[list[float], list[float]]:
    count, channels = 0, images.shape[3]
    total, squares = torch.zeros(channels, dtype=torch.int64), torch.zeros(channels, dtype=torch.int64)
    for part in images.split(max(1, _PART // images[0].numel())):
        values = part.reshape(-1, channels).int()
        total += values.sum(0)
        squares += (values * values).sum(0)
        count += len(values)
    mean = total.double() / count
    variance = squares.double() / count - mean**2
    deviation = torch.where(variance > 0, variance.clamp(min=0).sqrt(), 255.0)
    return (mean / 255).float().tolist(), (deviation / 255).float().tolist()
