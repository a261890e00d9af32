"""Where decoded images are kept between epochs: on the device, in memory, in a file, or nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dlzoo.core import distributed
from dlzoo.data.storage.given_images import GivenBatches, GivenImages
from dlzoo.data.storage.lazy_images import LazyImages, PrefetchedImages, ResidentImages

#: Each place is faster than those after it; "auto" is the first with enough room.
Cache = Literal["auto", "device", "memory", "disk", "none"]

#: The fractions that images may take of a GPU's free memory, of the machine's memory, and of a disk's free space.
_OF_DEVICE, _OF_MEMORY, _OF_DISK = 0.4, 0.25, 0.5


def uses_disk(cache: Cache, size: int, folder: Path) -> bool:
    """Return whether images of `size` bytes are decoded once, to a file in `folder`."""
    if cache != "auto":
        return cache != "none"
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return size <= _OF_DISK * shutil.disk_usage(there).free


def fits_memory(cache: Cache, size: int) -> bool:
    """Return whether images of `size` bytes are read into memory."""
    if cache != "auto":
        return cache not in ("disk", "none")
    return size <= _OF_MEMORY * distributed.available_memory() / distributed.current_rank().local_world_size


def place_images(
    images: Tensor | LazyImages | GivenImages,
    cache: Cache,
    device: torch.device,
    batches: Callable[[int], Tensor | None],
    seeds: Callable[[int], list[int]] | None = None,
) -> ResidentImages | PrefetchedImages | GivenBatches:
    """Return the source of batches on `device`.

    Args:
        batches: the number of a batch -> the indices of its samples.
        seeds: the number of a training batch -> a seed for each of its samples, if they are of a given data set.
    """
    if isinstance(images, GivenImages):
        size = images.shape.numel() * images.layout.dtype.itemsize
        return GivenBatches(images, batches, device, seeds, keep=fits_memory(cache, size))
    if isinstance(images, LazyImages):
        return PrefetchedImages(images, batches, device)
    fits = cache == "device" or (cache == "auto" and images.numel() <= _OF_DEVICE * _free_bytes(device))
    if device.type == "cpu" or fits:
        return ResidentImages(images.to(device))
    return PrefetchedImages(images, batches, device)


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
