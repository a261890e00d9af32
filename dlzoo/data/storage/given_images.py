"""Images of a data set that was given as an object: its own transforms run whenever one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dlzoo.core.errors import UserError
from dlzoo.core.rng import keeping_generators
from dlzoo.data.storage.items import Items, Layout, Target, resizing

#: Items whose pixels are part of a fingerprint.
_SAMPLE = 64


class GivenImages:
    """Images (N, H, W, C), uint8 or float32, that are items of a given data set.

    Args:
        items: the items.
        targets: the target of each item: another one, when it is read again, is an error.
        layout: shape and type of every image.
        rows: (N,) int64, the item of each image.
        repeats: whether an item is the same whenever it is read with the same seed.
    """

    place = "data set"
    stamp = ""

    def __init__(
        self, items: Items, targets: Sequence[Target], layout: Layout, rows: Tensor, *, repeats: bool = True
    ) -> None:
        self.items, self.targets, self.layout, self.rows, self.repeats = items, targets, layout, rows, repeats
        self.shape = torch.Size((len(rows), *layout.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: Tensor) -> GivenImages:
        """Return the images at `indices`, without reading them."""
        return GivenImages(self.items, self.targets, self.layout, self.rows[indices], repeats=self.repeats)

    def in_memory(self) -> GivenImages:
        """Return the images themselves: they may differ each time."""
        return self

    def __getitem__(self, indices: Tensor | slice) -> Tensor:
        """Read the images at `indices`, (n, H, W, C), as evaluation sees them: their seeds depend on the item only."""
        return self.read(torch.arange(len(self))[indices])

    def read(self, indices: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
        """Read the images at `indices`, each after seeding the generators: (n, H, W, C).

        Raises:
            UserError: if an item cannot be read, has another shape than the others, or another target than before.
        """
        rows = self.rows[indices]
        out = torch.empty(len(rows), *self.layout.shape, dtype=self.layout.dtype)
        with keeping_generators():
            for place, (row, seed) in enumerate(zip(rows.tolist(), seeds or self.items.fixed_seeds(rows), strict=True)):
                out[place] = self.read_one(row, seed)
        return out

    def read_one(self, row: int, seed: int) -> Tensor:
        """Read the image of item `row`, (H, W, C); the generators are seeded, and not restored."""
        image, target = self.items.read(row, seed)
        found = Layout((image.shape[0], image.shape[1], image.shape[2]), image.dtype)
        if found != self.layout:
            raise UserError(f"{self.items.where(row)} is {found}, but others are {self.layout} (channels x height x"
                            f" width); all images must have one size and type{resizing(target)}")  # fmt: skip
        if target != self.targets[row]:
            raise UserError(f"{self.items.where(row)}: its target is {target}, but was {self.targets[row]} when it was"
                            " read before; targets must not change")  # fmt: skip
        return image

    def sample(self) -> Tensor:
        """Return some of the images, evenly spaced, for a fingerprint: (n, H, W, C); none if they do not repeat."""
        count = min(_SAMPLE, len(self)) if self.repeats else 0
        return self.read(torch.arange(count) * len(self) // max(1, count))


class GivenBatches:
    """Batches of given images, read in this process and thread, or ahead in processes of their own.

    Args:
        images: the images.
        batches: number of a batch -> indices of its samples, on the host; None if there is no such batch.
        device: the device of the batches.
        seeds: number of a batch -> the seed of each sample; None for those of evaluation, with which images repeat.
        keep: whether to keep what was read for evaluation.
    """

    def __init__(
        self,
        images: GivenImages,
        batches: Callable[[int], Tensor | None],
        device: torch.device,
        seeds: Callable[[int], list[int]] | None,
        *,
        keep: bool,
    ) -> None:
        self.place = images.place
        self._images, self._batches, self._device, self._seeds = images, batches, device, seeds
        self._kept: dict[int, Tensor] | None = {} if keep and seeds is None else None
        self._ahead: Iterator[Tensor | str] | None = None
        self._next = -1

    def batch(self, number: int, samples: Tensor | slice) -> Tensor:
        """Return the images of batch `number`: (n, H, W, C) on the device."""
        if self._kept is not None and number in self._kept:
            return self._kept[number].to(self._device)
        out = self._read_ahead(number) if self._images.items.workers else self._read(number)
        if self._kept is not None:
            self._kept[number] = out
        return out.to(self._device, non_blocking=True)

    def _read(self, number: int) -> Tensor:
        indices = self._batches(number)
        assert indices is not None
        return self._images.read(indices, None if self._seeds is None else self._seeds(number))

    def _read_ahead(self, number: int) -> Tensor:
        """Return the images of a batch from the processes, which are started at the first one of a sequence."""
        if self._ahead is None or self._next != number:
            self.close()
            loader = DataLoader(
                _Requests(self._images),
                batch_sampler=self._requests(number),  # pyright: ignore[reportArgumentType]
                num_workers=self._images.items.workers,
                collate_fn=_stack,
                multiprocessing_context="fork",  # a data set of a notebook cannot be sent to other processes
                generator=torch.Generator(),  # by default numbers are drawn from the global one
            )
            self._ahead = iter(loader)
        assert self._ahead is not None
        out, self._next = next(self._ahead), number + 1
        if isinstance(out, str):
            raise UserError(out)
        return out

    def _requests(self, first: int) -> Iterator[list[tuple[int, int]]]:
        """Yield the items and seeds of batch `first` and those after it."""
        for number in count(first):
            indices = self._batches(number)
            if indices is None:
                return
            rows = self._images.rows[indices]
            seeds = self._images.items.fixed_seeds(rows) if self._seeds is None else self._seeds(number)
            yield list(zip(rows.tolist(), seeds, strict=True))

    def close(self) -> None:
        """End the processes that read ahead."""
        self._ahead = None


class _Requests(Dataset[Tensor | str]):
    """Items by (row, seed), in another process; an error is returned as its message."""

    def __init__(self, images: GivenImages) -> None:
        self._images = images

    def __getitem__(self, request: tuple[int, int]) -> Tensor | str:
        try:
            return self._images.read_one(*request)
        except UserError as error:
            return str(error)


def _stack(items: list[Tensor | str]) -> Tensor | str:
    """Return the batch, or the first error in it."""
    images = [item for item in items if isinstance(item, Tensor)]
    return torch.stack(images) if len(images) == len(items) else next(item for item in items if isinstance(item, str))
