"""Evaluation of a split: updated batch by batch, merged over the ranks, computed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from dlzoo.core import distributed
from dlzoo.core.protocols import Summed
from dlzoo.metrics.accumulators import Accumulator, Sum


class Evaluation(ABC):
    """Base class of an evaluation, which accumulates the statistics of a split.

    Attributes:
        count: number of samples so far.

    A subclass has its accumulators as attributes.
    """

    def __init__(self) -> None:
        self.count = 0

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return name -> value of every metric. Call it after the last batch and after `merge_ranks`."""

    def is_score_defined(self) -> bool:
        """Return whether the metric that selects the weights by default can change with them, for this split."""
        return True

    def learned_nothing(self) -> str | None:
        """Return why the split's predictions are no better than chance, in one sentence, after `compute`.

        None if they are better, if the split is too small to tell, or if the task does not define it.
        """
        return None

    def standard_error(self, metric: str, value: float, samples: int) -> float | None:
        """Return the standard error of a metric of that value, measured on that many samples; None if not known."""
        return None

    def by_class(self) -> Mapping[str, Sequence[float | None]]:
        """Return metric -> value of each class; None for a class that is not in the split."""
        return {}

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of test_predictions.npz by name, with a row per sample in the order of the split."""
        return {}

    def merge_ranks(self) -> None:
        """Merge the accumulators of all ranks. Every rank calls this, and has the same result."""
        accumulators = {name: part.cpu() for name, part in vars(self).items() if isinstance(part, Accumulator)}
        (self.count, merged), *others = distributed.all_gather((self.count, accumulators))
        for count, parts in others:
            self.count += count
            for name, part in parts.items():
                merged[name].merge(part)
        vars(self).update(merged)


def standard_error_of_share(value: float, samples: int) -> float:
    """Return the standard error of a share, or of a mean of values between 0 and 1, whose variance is not larger.

    Two samples of each kind are added (Agresti and Coull 1998), so that it is not 0 for a value of 0 or 1.
    """
    share = (value * samples + 2) / (samples + 4)
    return sqrt(share * (1 - share) / (samples + 4))


def add_loss(sums: Sum, loss_fn: nn.Module, input: Tensor, target: Tensor) -> None:
    """Add the contribution of a batch to the loss of its split.

    A loss is the mean over its samples unless it implements core.protocols.Summed, as Dice and cross_entropy do.
    """
    if isinstance(loss_fn, Summed):
        sums.update(loss_fn.sums(input, target))
    else:
        sums.update(loss_fn(input, target).double() * len(target))


def loss_of_split(sums: Sum, loss_fn: nn.Module, count: int) -> float:
    """Return the loss of the `count` samples of a split."""
    return float(loss_fn.from_sums(sums.total()) if isinstance(loss_fn, Summed) else sums.total() / count)
