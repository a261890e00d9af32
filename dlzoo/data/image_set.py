"""What a data entry returns: images as uint8 in memory (or in a memory-mapped file), with labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

#: Values that are worked through at a time.
_PART = 4_000_000


@dataclass(frozen=True)
class Split:
    """images (N, H, W, C) uint8, labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """The samples at `indices`, in their order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageSet:
    """A classification set as it is published. Without `val`, validation is cut from train."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None


def fingerprint(*splits: Split | None) -> str:
    """A hash of all pixels and labels, in order: equal on two machines that train on the same data."""
    digest = hashlib.blake2b(digest_size=8)
    for split in splits:
        if split is not None:
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
    return digest.hexdigest()


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of uint8 images (N, H, W, C), in units of 0 to 1: (C,), (C,).

    Exact, from integer sums; a channel that is constant gets the deviation 1.
    """
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
    return (mean / 255).float(), (deviation / 255).float()
