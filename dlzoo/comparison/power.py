"""What a number of seeds can show, and how many it takes."""

from __future__ import annotations

from bisect import bisect_left
from math import sqrt
from typing import NamedTuple

from scipy import stats

from dlzoo.comparison.relabelling import MOST, smallest_p
from dlzoo.comparison.statistics import Effect

#: Nobody trains more seeds than this.
MOST_SEEDS = 10_000
#: The share of experiments in which a difference is found, if it is as large as was observed.
POWER = 0.8


class Family(NamedTuple):
    """What a family of comparisons can show after Benjamini and Hochberg.

    Args:
        together: how many of them must have the smallest p for any to be found; None if not even all together are.
        seeds: paired seeds with which a single one could be found; None if the tests are too coarse for that.
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


def family(seeds: int, comparisons: int, alpha: float = 0.05) -> Family:
    """What so many comparisons (one or more) of so many paired seeds each can show."""
    smallest = smallest_p(seeds)
    together = None
    if smallest is not None:
        counts = range(1, comparisons + 1)
        together = next((count for count in counts if smallest * (comparisons / count) <= alpha), None)
    return Family(together, seeds_to_reach(alpha / comparisons))


def seeds_needed(effect: Effect, alpha: float = 0.05) -> int | None:
    """The fewest seeds (of each arm) that find a difference as large as the observed one in 80 % of experiments.

    Taken from the two-sided t test with the observed standard deviation (of the paired differences; pooled over the
    arms if they are not paired), and not fewer than the exact test needs to reach alpha at all. With exactly so few
    that test finds a little less than t does: 65 % instead of 83 % for 1.5 standard deviations and 6 pairs. What few
    seeds say of the difference is itself uncertain, and so is this number.

    Returns:
        None if there is no difference, its noise is unknown, or it would take more than 10,000.
    """
    fewest = seeds_to_reach(alpha, effect.paired)
    noise = _noise(effect)
    if fewest is None or noise is None:
        return None
    if noise == 0:
        return fewest if effect.p == effect.smallest_p else None
    size = abs(effect.difference) / noise
    numbers = range(fewest, MOST_SEEDS + 1)
    place = bisect_left(numbers, POWER, key=lambda seeds: _power(size, seeds, alpha, effect.paired))
    return numbers[place] if place < len(numbers) else None


def _noise(effect: Effect) -> float | None:
    """The standard deviation of the paired differences, read off their t interval; pooled if they are not paired."""
    if effect.interval is None:
        return None
    if not effect.paired:
        return effect.noise
    reach = (effect.interval.high - effect.interval.low) / 2
    return reach * sqrt(effect.seeds) / float(stats.t.ppf(0.975, effect.seeds - 1))


def _power(size: float, seeds: int, alpha: float, paired: bool) -> float:
    """Of the t test, to find a difference of `size` standard deviations with the right sign (non-central t)."""
    freedom = seeds - 1 if paired else 2 * (seeds - 1)
    shift = size * sqrt(seeds if paired else seeds / 2)
    return float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, freedom), freedom, shift))
