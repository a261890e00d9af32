"""Images that are not where they are needed: read when they are asked for, and ahead of it where the order is known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from dlzoo.core import distributed

#: Batches that are under way while one is worked on.
_AHEAD = 3
#: Images that a thread reads before it looks for other work.
_CHUNK = 16


class Stored:
    """Images (N, H, W, C) uint8 behind a function that reads one of them: rows of a file, or pictures to decode.

    Args:
        read: row -> (H, W, C) uint8; called from several threads.
        shape: H, W, C.
        rows: (N,) int64, the rows that these images are.
        place: where they are read from, in a word.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray], shape: tuple[int, int, int], rows: Tensor, place: str
    ) -> None:
        self._read, self._rows, self.place = read, rows, place
        self.shape = torch.Size((len(rows), *shape))

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, indices: Tensor | slice) -> Stored:
        """The images at `indices`, still not read."""
        _, height, width, channels = self.shape
        return Stored(self._read, (height, width, channels), self._rows[indices], self.place)

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """The images at `indices`, read: (n, H, W, C).

        Raises:
            UserError: if one cannot be read any more.
        """
        wanted = torch.arange(len(self))[indices]
        out = torch.empty(len(wanted), *self.shape[1:], dtype=torch.uint8)
        for future in self.start(wanted, out):
            future.result()
        return out

    def start(self, indices: Tensor, out: Tensor) -> list[Future[None]]:
        """Begin to read the images at `indices` into `out`."""
        array = out.numpy()

        def fill(begin: int, rows: list[int]) -> None:
            for place, row in enumerate(rows, begin):
                array[place] = self._read(row)

        parts = self._rows[indices].split(_CHUNK)
        return [_pool().submit(fill, number * _CHUNK, part.tolist()) for number, part in enumerate(parts)]


class Here:
    """Images that are where they are needed."""

    def __init__(self, images: Tensor) -> None:
        self.place = "memory" if images.device.type == "cpu" else "device"
        self._images = images

    def batch(self, number: int, samples: Tensor | slice) -> Tensor:
        """The images at `samples`: (n, H, W, C)."""
        return self._images[samples]

    def close(self) -> None:
        """There is nothing to stop."""


class Ahead:
    """Batches of images on their way to a device before they are asked for.

    Threads gather them in memory that a GPU can copy from by itself: neither the host nor the device waits.

    Args:
        images: where they come from.
        batches: number -> indices of a batch; None where there is none.
        device: where they go.
    """

    def __init__(self, images: Tensor | Stored, batches: Callable[[int], Tensor | None], device: torch.device) -> None:
        self.place = images.place if isinstance(images, Stored) else "memory"
        self._images, self._batches, self._device = images, batches, device
        self._started: dict[int, tuple[Tensor, list[Future]]] = {}

    def batch(self, number: int, samples: Tensor | slice) -> Tensor:
        """The images of batch `number`: (n, H, W, C) on the device."""
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
        if isinstance(self._images, Stored):
            return out, list(self._images.start(indices, out))
        return out, [_pool().submit(torch.index_select, self._images, 0, indices, out=out)]

    def close(self) -> None:
        """Stop what is under way."""
        for _, futures in self._started.values():
            _cancel(futures)
        self._started = {}


def moved(values: Tensor, device: torch.device) -> Tensor:
    """`values` on the device; the host does not wait for the copy."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _cancel(futures: list[Future]) -> None:
    for future in futures:
        future.cancel()


@cache
def _pool() -> ThreadPoolExecutor:
    """As many threads as this process has cores to itself: decoders and copies let go of Python's lock."""
    return ThreadPoolExecutor(max(1, distributed.available_cores() // distributed.current_rank().local_world), "reader")
