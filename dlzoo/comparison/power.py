"""What a number of seeds can show, and how many it takes."""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

from scipy import stats

from dlzoo.comparison.permutation import MOST, smallest_p
from dlzoo.comparison.statistics import Effect

#: Nobody trains more seeds than this.
MOST_SEEDS = 10_000
#: The share of experiments in which a difference is found, if it is as large as was observed.
POWER = 0.8


class Family(NamedTuple):
    """What a family of comparisons can show after Benjamini and Hochberg.

    Args:
        together: how many have to be found at once for any to be found; None if not even all of them can be.
        seeds: of each arm, with which a single one could be found; None if the tests are too coarse for that.
    """

    together: int | None
    seeds: int | None


def seeds_to_reach(alpha: float, paired: bool = True) -> int | None:
    """The fewest seeds (of each arm) whose smallest p is at most alpha; None if the tests are too coarse for it."""
    for seeds in range(2, MOST.bit_length() + 1):
        smallest = smallest_p(seeds, None if paired else seeds)
        if smallest is not None and smallest <= alpha:
            return seeds
    return None


def family(smallest: float | None, comparisons: int, paired: bool = True, alpha: float = 0.05) -> Family:
    """What so many comparisons (one or more) can show.

    Benjamini and Hochberg find k of m comparisons if k of them have p of at most alpha * k / m. No p is below the
    smallest, so that fewer than `together` are never found, however large the differences. As many need not all be at
    the smallest p: with 8 pairs (0.0078) one of 10 alone is not found, but all 10 are with p = 0.039 each.

    Args:
        smallest: the smallest p that the seeds can give; None if they can give none.
        comparisons: how many.
        paired: whether they are.
        alpha: the share of false ones among those that are found.
    """
    together = None
    if smallest is not None:
        counts = range(1, comparisons + 1)
        together = next((count for count in counts if smallest * (comparisons / count) <= alpha), None)
    return Family(together, seeds_to_reach(alpha / comparisons, paired))


def seeds_needed(effect: Effect, alpha: float = 0.05) -> int | None:
    """The fewest seeds (of each arm) that find a difference as large as the observed one in 80 % of experiments.

    Taken from the two-sided t test with the observed standard deviation (`Effect.deviation`), and not fewer than the
    exact test needs to reach alpha at all. Exactly so few pairs find it only if all their differences have the same
    sign, which for 1.5 standard deviations and 6 pairs happens in 66 % of experiments, where t would find 83 %.
    Of unpaired arms it is t's all the same: 4 seeds against 4 find 2.4 standard deviations in 64 % rather than 81 %.
    What few seeds say of the difference is itself uncertain, and so is this number.

    Returns:
        None if there is no difference, its noise is unknown, or it would take more than 10,000.
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
    """How often a difference of `size` standard deviations is found with the right sign: by t (non-central).

    The fewest pairs find it by the exact test only, if all their differences have that sign.
    """
    if paired and seeds == fewest:
        return NormalDist().cdf(size) ** seeds
    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    shift = size * sqrt(seeds if paired else seeds / 2)
    return float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, freedom), freedom, shift))
