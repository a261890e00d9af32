"""What is measured of a split: updated batch by batch, merged over the ranks, computed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from dlzoo.core import distributed
from dlzoo.core.protocols import Summed
from dlzoo.metrics.accumulators import Accumulator, Sum


class Evaluation(ABC):
    """Accumulates the numbers of a split.

    Attributes:
        count: samples so far.

    A child has its accumulators as attributes.
    """

    def __init__(self) -> None:
        self.count = 0

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return name -> value of every metric; after the last batch, and after `merge_ranks`."""

    def by_class(self) -> Mapping[str, Sequence[float | None]]:
        """What is measured of each class; None for a class that the split does not have."""
        return {}

    def predictions(self) -> dict[str, NDArray[Any]]:
        """What test_predictions.npz holds: an array for each name, a row for each sample in the order of the split."""
        return {}

    def merge_ranks(self) -> None:
        """Take in what the other ranks have accumulated; every rank calls this, and has the same afterwards."""
        own = {name: part.cpu() for name, part in vars(self).items() if isinstance(part, Accumulator)}
        (self.count, merged), *others = distributed.all_gather((self.count, own))
        for count, parts in others:
            self.count += count
            for name, part in parts.items():
                merged[name].merge(part)
        vars(self).update(merged)


def add_loss(sums: Sum, loss_fn: nn.Module, input: Tensor, target: Tensor) -> None:
    """Add what the loss of a batch contributes to that of its split.

    A loss is a mean over its samples unless it says otherwise (core.protocols.Summed), as Dice and class weights do.
    """
    if isinstance(loss_fn, Summed):
        sums.update(loss_fn.sums(input, target))
    else:
        sums.update(loss_fn(input, target).double() * len(target))


def loss_of_split(sums: Sum, loss_fn: nn.Module, count: int) -> float:
    """The loss of the `count` samples of a split."""
    return float(loss_fn.from_sums(sums.total()) if isinstance(loss_fn, Summed) else sums.total() / count)
