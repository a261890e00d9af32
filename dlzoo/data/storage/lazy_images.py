"""Images that are read on demand, or prefetched in the order of the batches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlzoo.core import distributed

#: Batches that are prefetched.
_AHEAD = 3
#: Images per task of a reader thread.
_CHUNK = 16


class LazyImages:
    """Images (N, H, W, C) uint8 that are read one by one on access: rows of a file, or image files to decode.

    Args:
        read: row -> (H, W, C) uint8; called from several threads.
        shape: (H, W, C).
        rows: (N,) int64, the row of each image.
        place: where they are read from, "disk" or "none" (decoded each time).
        stamp: identifies the files and how they are read; "" if nothing does.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray], shape: tuple[int, int, int], rows: Tensor, place: str, stamp: str = ""
    ) -> None:
        self._read, self.rows, self.place, self.stamp = read, rows, place, stamp
        self.shape = torch.Size((len(rows), *shape))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Tensor | slice) -> LazyImages:
        """Return the images at `indices`, without reading them."""
        _, height, width, channels = self.shape
        return LazyImages(self._read, (height, width, channels), self.rows[indices], self.place, self.stamp)

    def in_memory(self) -> Tensor:
        """Read all images."""
        return self[:]

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Read the images at `indices`: (n, H, W, C).

        Raises:
            UserError: if an image can no longer be read.
        """
        positions = torch.arange(len(self))[indices]
        out = torch.empty(len(positions), *self.shape[1:], dtype=torch.uint8)
        for future in self.start(positions, out):
            future.result()
        return out

    def start(self, indices: Tensor, out: Tensor) -> list[Future[None]]:
        """Start reading the images at `indices` into `out`."""
        array = out.numpy()

        def fill(begin: int, rows: list[int]) -> None:
            for place, row in enumerate(rows, begin):
                array[place] = self._read(row)

        parts = self.rows[indices].split(_CHUNK)
        return [_pool().submit(fill, number * _CHUNK, part.tolist()) for number, part in enumerate(parts)]


class ResidentImages:
    """Images in memory, or on the device: batches are indexed from them."""

    def __init__(self, images: Tensor) -> None:
        self.place = "memory" if images.device.type == "cpu" else "device"
        self._images = images

    def batch(self, number: int, samples: Tensor | slice) -> Tensor:
        """Return the images at `samples`: (n, H, W, C)."""
        return self._images[samples]

    def close(self) -> None:
        """Do nothing: no thread is running."""


class PrefetchedImages:
    """Images whose next batches are prefetched for a device.

    Threads gather them in pinned memory, from which a GPU copies asynchronously: neither the host nor the device waits.

    Args:
        images: the images.
        batches: number of a batch -> indices of its samples, or None if there is no such batch.
        device: the device of the batches.
    """

    def __init__(
        self, images: Tensor | LazyImages, batches: Callable[[int], Tensor | None], device: torch.device
    ) -> None:
        self.place = images.place if isinstance(images, LazyImages) else "memory"
        self._images, self._batches, self._device = images, batches, device
        self._started: dict[int, tuple[Tensor, list[Future]]] = {}

    def batch(self, number: int, samples: Tensor | slice) -> Tensor:
        """Return the images of batch `number`, (n, H, W, C) on the device, and start reading the next ones."""
        for other in [other for other in self._started if not number <= other < number + _AHEAD]:
            _cancel(self._started.pop(other)[1])
        for other in range(number, number + _AHEAD):
            if other not in self._started and (indices := self._batches(other)) is not None:
                self._started[other] = self._start(indices)
        out, futures = self._started.pop(number)
        for future in futures:
            future.result()
        return out.to(self._device, non_blocking=True)

    def _start(self, indices: Tensor) -> tuple[Tensor, list[Future]]:
        pinned = self._device.type == "cuda"
        out = torch.empty(len(indices), *self._images.shape[1:], dtype=torch.uint8, pin_memory=pinned)
        if isinstance(self._images, LazyImages):
            return out, list(self._images.start(indices, out))
        return out, [_pool().submit(torch.index_select, self._images, 0, indices, out=out)]

    def close(self) -> None:
        """Cancel the reads that have not started."""
        for _, futures in self._started.values():
            _cancel(futures)
        self._started = {}


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy `values` to the device asynchronously."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _cancel(futures: list[Future]) -> None:
    for future in futures:
        future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    """Return a pool with one thread per core of this rank: decoders and copies release the GIL."""
    return ThreadPoolExecutor(
        max(1, distributed.available_cores() // distributed.current_rank().local_world_size), "reader"
    )
