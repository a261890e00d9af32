"""Pairs of detections and objects, a part of them at a time: those of a large split would take gigabytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def split_rows(pairs: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Yield successive slices of rows that have at most `most` pairs together, but one row at least.

    Args:
        pairs: (R,) number of pairs of each row.
    """
    ends = pairs.cumsum()
    start = done = 0
    while start < len(pairs):
        stop = max(int(np.searchsorted(ends, done + most, "right")), start + 1)
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])


def expand(first: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of R rows with the objects first, first + 1, ..., first + counts - 1 of each: (P,), (P,).

    They are in the order of the rows, then of the objects; rows are counted from 0.
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) + np.repeat(first - (counts.cumsum() - counts), counts)
