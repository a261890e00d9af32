"""Statistical power: what a number of seeds can show, and how many are needed."""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from scipy import stats

from dlzoo.comparison.permutation import MOST, smallest_p
from dlzoo.comparison.statistics import Effect

#: The largest number of seeds considered.
MOST_SEEDS = 10_000
#: Target power: the share of experiments that detect a difference as large as the observed one.
POWER = 0.8


class Family(NamedTuple):
    """Power of a family of comparisons under the Benjamini-Hochberg procedure.

    Args:
        together: number of comparisons that must be significant at once for any to be; None if it exceeds the family.
        seeds: number of seeds of each arm with which a single one could be significant; None if the tests are too
            coarse for that.
    """

    together: int | None
    seeds: int | None


def seeds_to_reach(alpha: float, paired: bool = True) -> int | None:
    """Return the fewest seeds (of each arm) whose smallest p is at most alpha; None if the tests are too coarse."""
    for seeds in range(2, MOST.bit_length() + 1):
        smallest = smallest_p(seeds, None if paired else seeds)
        if smallest is not None and smallest <= alpha:
            return seeds
    return None


def family(smallest: float | None, comparisons: int, paired: bool = True, alpha: float = 0.05) -> Family:
    """Return the power of a family of comparisons (one or more).

    Benjamini and Hochberg accept k of m comparisons if k of them have p of at most alpha * k / m. No p is below the
    smallest, so fewer than `together` are never accepted, however large the differences. They need not all have the
    smallest p: with 8 pairs (0.0078) one of 10 is not accepted by itself, but all 10 are with p = 0.039 each.

    Args:
        smallest: the smallest p that the seeds can give; None if they can give none.
        comparisons: number of comparisons.
        paired: whether the arms are paired.
        alpha: the expected share of false discoveries.
    """
    together = None
    if smallest is not None:
        counts = range(1, comparisons + 1)
        together = next((count for count in counts if smallest * (comparisons / count) <= alpha), None)
    return Family(together, seeds_to_reach(alpha / comparisons, paired))


def seeds_needed(effect: Effect, alpha: float = 0.05) -> int | None:
    """Return the fewest seeds (of each arm) that detect a difference as large as observed in 80 % of experiments.

    Computed from the two-sided t test with the observed standard deviation (`Effect.deviation`), and at least as many
    as the exact test needs to reach alpha. With exactly that number of pairs, all differences must have the same sign,
    which for 1.5 standard deviations and 6 pairs happens in 66 % of experiments, where t would detect 83 %. For
    unpaired arms it is t's number all the same: 4 seeds against 4 detect 2.4 standard deviations in 64 % rather than
    81 %. A difference estimated from few seeds is uncertain, and so is this number.

    Returns:
        None if there is no difference, its noise is unknown, or more than 10,000 seeds would be needed.
    """
    fewest = seeds_to_reach(alpha, effect.paired)
    if fewest is None or effect.p is None or effect.deviation is None:
        return None
    if effect.deviation == 0:
        return fewest if effect.p == effect.smallest_p else None
    size = abs(effect.difference) / effect.deviation
    numbers = range(fewest, MOST_SEEDS + 1)
    place = bisect_left(numbers, POWER, key=lambda seeds: _power(size, seeds, fewest, alpha, effect.paired))
    return numbers[place] if place < len(numbers) else None


def _power(size: float, seeds: int, fewest: int, alpha: float, paired: bool) -> float:
    """Return the power to detect a difference of `size` standard deviations with the right sign: non-central t.

    For the fewest pairs it is that of the exact test: all their differences must have that sign.
    """
    if paired and seeds == fewest:
        return NormalDist().cdf(size) ** seeds
    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    shift = size * sqrt(seeds if paired else seeds / 2)
    return float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, freedom), freedom, shift))
