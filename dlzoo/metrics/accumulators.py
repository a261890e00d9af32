"""Accumulators of an evaluation: updated batch by batch on the device, merged over the ranks on the host."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@runtime_checkable
class Accumulator(Protocol):
    """Statistics accumulated over the batches of a split, in constant memory unless the class says otherwise."""

    def merge(self, other: Self) -> None:
        """Add the accumulator of another rank."""
        ...

    def cpu(self) -> Self:
        """Return a copy on the host."""
        ...


class Sum:
    """Sum of tensors of one shape: floats in float64, integers in int64."""

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def update(self, value: Tensor) -> None:
        """Add a tensor."""
        value = value.detach()
        value = value.double() if value.is_floating_point() else value.long()
        self.value = value if self.value is None else self.value + value

    def merge(self, other: Sum) -> None:
        if other.value is not None:
            self.update(other.value)

    def cpu(self) -> Sum:
        copy = Sum()
        copy.value = None if self.value is None else self.value.cpu()
        return copy

    def total(self) -> Tensor:
        """Return the sum on the host; 0 if nothing was added."""
        return torch.zeros((), dtype=torch.int64) if self.value is None else self.value.cpu()


class Moments:
    """Mean, sum of squared deviations from it, and range of each column of the rows so far: (D,) each, float64.

    Parts are merged as in Chan, Golub and LeVeque 1983, equation 2.1, which avoids cancellation far from 0.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor | None = None
        self.deviations = self.low = self.high = torch.zeros(0, dtype=torch.float64)

    def update(self, rows: Tensor) -> None:
        """Add rows (n, D)."""
        rows = rows.detach().double()
        part = Moments()
        part.count, part.mean = len(rows), rows.mean(0)
        part.deviations = (rows - part.mean).square().sum(0)
        part.low, part.high = rows.amin(0), rows.amax(0)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        if other.mean is None:
            return
        if self.mean is None:
            self.count, self.mean, self.deviations = other.count, other.mean, other.deviations
            self.low, self.high = other.low, other.high
            return
        count, difference = self.count + other.count, other.mean - self.mean
        self.mean = self.mean + difference * (other.count / count)
        self.deviations = self.deviations + other.deviations + difference.square() * (self.count * other.count / count)
        self.low, self.high = torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        self.count = count

    def cpu(self) -> Moments:
        copy = Moments()
        copy.count, copy.mean = self.count, None if self.mean is None else self.mean.cpu()
        copy.deviations, copy.low, copy.high = self.deviations.cpu(), self.low.cpu(), self.high.cpu()
        return copy


class Largest:
    """The `most` rows with the largest keys, a bounded heap; rows (n, D) float64."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.keys: Tensor | None = None
        self.rows = torch.zeros(0, 0, dtype=torch.float64)

    def update(self, keys: Tensor, rows: Tensor) -> None:
        """Add keys (n,) and their rows (n, D); rows with equal keys stay in the order in which they were added."""
        if self.keys is not None:
            keys, rows = torch.cat([self.keys, keys]), torch.cat([self.rows, rows])
        order = keys.argsort(descending=True, stable=True)[: self.most]
        self.keys, self.rows = keys[order], rows[order]

    def merge(self, other: Largest) -> None:
        if other.keys is not None:
            self.update(other.keys, other.rows)

    def cpu(self) -> Largest:
        copy = Largest(self.most)
        if self.keys is not None:
            copy.keys, copy.rows = self.keys.cpu(), self.rows.cpu()
        return copy


class Table:
    """Columns with a row per sample, kept as they are added and sorted by sample at the end.

    Memory grows with the split.

    Args:
        most: keep only the first `most` samples of the split.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._parts: list[tuple[range, dict[str, Tensor]]] = []

    def update(self, indices: range, **columns: Tensor) -> None:
        """Add columns (n, ...) of the samples `indices`."""
        kept = indices if self.most is None else range(indices.start, max(indices.start, min(indices.stop, self.most)))
        if len(kept):
            self._parts.append((kept, {name: column[: len(kept)] for name, column in columns.items()}))

    def merge(self, other: Table) -> None:
        self._parts += other._parts

    def cpu(self) -> Table:
        copy = Table(self.most)
        copy._parts = [(rows, {name: value.cpu() for name, value in cells.items()}) for rows, cells in self._parts]
        return copy

    def columns(self) -> dict[str, Tensor]:
        """Return {"id": (N,), column: (N, ...)} on the host, in the order of the samples; {} without samples."""
        parts = sorted(self._parts, key=lambda part: part[0].start)
        if not parts:
            return {}
        ids = torch.cat([torch.arange(indices.start, indices.stop) for indices, _ in parts])
        return {"id": ids} | {name: torch.cat([cells[name].cpu() for _, cells in parts]) for name in parts[0][1]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return `columns` as arrays of the smallest dtypes."""
        return {name: smallest_dtype(values.numpy()) for name, values in self.columns().items()}


def smallest_dtype(values: NDArray[Any]) -> NDArray[Any]:
    """Return floats as float32, and integers >= 0 in the smallest unsigned dtype."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def smallest_int(values: Tensor, count: int) -> Tensor:
    """Return integers from 0 to `count` - 1 in the smallest torch dtype that holds them."""
    return values.to(next(kind for kind, limit in _SIZES.items() if count <= limit))


_SIZES = {torch.uint8: 2**8, torch.int16: 2**15, torch.int32: 2**31, torch.int64: 2**63}
