"""Confidence intervals and tests that are valid for few seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import Literal

import numpy as np
from scipy import stats

from dlzoo.comparison.permutation import permutation_p, sign_flip_p, smallest_p

#: Metrics are computed in single precision: numbers that differ by less than this, relative to the metric, are tied.
RESOLUTION = 2 * float(np.finfo(np.float32).eps)
#: Confidence level of all intervals.
CONFIDENCE = 0.95
#: The fewest values for which the BCa bootstrap has about its nominal coverage.
ENOUGH_FOR_BCA = 20

Verdict = Literal["better", "worse", "equivalent", "undecided"]

#: The fewest seeds of each arm with which two arms can be called equivalent.
_FEWEST_EQUIVALENT = 3


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """The difference between two arms.

    Args:
        difference: mean of the arm minus mean of the baseline; NaN if a metric is not finite.
        interval: its 95 % interval: t over the paired differences, or Welch's t; None where it cannot be computed.
        p: of the sign-flip test over paired differences, or of the permutation test; two-sided; exact where there are
            few seeds (`permutation.MOST_PAIRS`); None below two.
        adjusted: p after Benjamini and Hochberg over the family of comparisons.
        smallest_p: the smallest p for this number of seeds.
        noise: standard deviation over seeds, pooled over the two arms.
        size: the difference in units of `noise`; None if the noise is 0 or unknown.
        seeds: number of seeds of the arm; `baseline_seeds` of the baseline.
        paired: whether the arms are paired by seed.
        left_out: seeds that only one of the arms has, if the others are paired.
        deviation: standard deviation of the paired differences; for unpaired arms `noise`; None if unknown.
    """

    difference: float
    interval: Interval | None
    p: float | None
    adjusted: float | None
    smallest_p: float | None
    noise: float | None
    size: float | None
    seeds: int
    baseline_seeds: int
    paired: bool
    left_out: tuple[int, ...]
    deviation: float | None = None


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval | None:
    """Return Student's t interval of a mean; None below two values, or if one is not finite."""
    known = np.asarray(values, dtype=float)
    if len(known) < 2 or not np.isfinite(known).all():
        return None
    error = _deviation(known, 0.0) / sqrt(len(known))
    return _interval(float(known.mean()), error, len(known) - 1)


def bands(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `mean_interval` at each point of curves.

    Args:
        values: (seeds, points); NaN where a seed has no value.

    Returns:
        (mean, low, high), each (points,). The mean is NaN where no seed has a value, low and high where fewer than two
        have one, or where one is infinite.
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / counts
        squares = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, counts - 1) * np.sqrt(squares / (counts - 1) / counts)
    return mean, mean - reach, mean + reach


def bca(values: Sequence[float] | np.ndarray) -> Interval | None:
    """Return the BCa bootstrap interval of a mean (Efron 1987), as a check of the t interval.

    None below 20 values, where it is too narrow, or if one is not finite.
    """
    known = np.asarray(values, dtype=float)
    if len(known) < ENOUGH_FOR_BCA or not np.isfinite(known).all():
        return None
    if np.ptp(known) <= RESOLUTION * abs(known).max():
        return Interval(float(known.mean()), float(known.mean()))
    result = stats.bootstrap((known,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0))
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def effect(arm: Mapping[int, float], baseline: Mapping[int, float]) -> Effect:
    """Compare two arms (seed -> metric), paired over the seeds that both have.

    Unpaired, with all seeds, if fewer than two seeds are shared, or fewer than half of those of the arm with fewer:
    pairing would drop too many. One seed each, the same in both, is a pair.

    Raises:
        ValueError: if an arm has no seed.
    """
    if not arm or not baseline:
        raise ValueError("an arm without a seed cannot be compared")
    common = sorted(arm.keys() & baseline.keys())
    paired = len(common) >= max(2, min(len(arm), len(baseline)) / 2) or arm.keys() == baseline.keys()
    ours = np.array([arm[seed] for seed in (common if paired else sorted(arm))], dtype=float)
    theirs = np.array([baseline[seed] for seed in (common if paired else sorted(baseline))], dtype=float)
    tied = RESOLUTION * float(np.abs(np.concatenate([ours, theirs])).max())
    unknown = Effect(
        difference=nan,
        interval=None,
        p=None,
        adjusted=None,
        smallest_p=smallest_p(len(ours), None if paired else len(theirs)),
        noise=None,
        size=None,
        seeds=len(ours),
        baseline_seeds=len(theirs),
        paired=paired,
        left_out=tuple(sorted(arm.keys() ^ baseline.keys())) if paired else (),
    )
    if not np.isfinite(tied):
        return unknown
    difference = float((ours - theirs).mean() if paired else ours.mean() - theirs.mean())
    noise = _pooled_deviation(ours, theirs, tied)
    return replace(
        unknown,
        difference=difference,
        interval=_paired_interval(ours - theirs, tied) if paired else _welch_interval(ours, theirs, tied),
        p=None if unknown.smallest_p is None else _p(ours, theirs, paired, tied),
        noise=noise,
        size=difference / noise if noise else None,
        deviation=_spread(ours - theirs, tied) if paired else noise,
    )


def adjust_p(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects with `adjusted`: p after Benjamini and Hochberg (1995), over those that have a p.

    It bounds the expected share of false discoveries if comparisons are independent, or positively dependent (Benjamini
    and Yekutieli 2001). scripts/prove_statistics.py checks it for arms that share a baseline.
    """
    tested = [position for position, one in enumerate(effects) if one.p is not None]
    changed = [replace(one, adjusted=None) for one in effects]
    if tested:
        controlled = stats.false_discovery_control([effects[position].p for position in tested], method="bh")
        for position, p in zip(tested, controlled, strict=True):
            changed[position] = replace(effects[position], adjusted=float(p))
    return changed


def verdict(effect: Effect, margin: float | None, higher_is_better: bool, alpha: float = 0.05) -> Verdict:
    """Return the verdict on an arm.

    - equivalent: the interval lies within -margin to margin. It takes precedence over better and worse, as a margin
      means that differences within it do not matter. With a 95 % interval these are two one-sided tests at 2.5 % each
      (Lakens 2017 describes them, with a 90 % interval and 5 %): stricter than usual. It takes three seeds, as two that
      agree by chance have an interval of zero width.
    - better, worse: p, adjusted if available, is at most alpha, and the interval does not contain 0. Either can hold
      without the other, as the test assumes less of the noise than the interval; both are required.
    - undecided: neither, which is not the same as equivalent.
    """
    interval, enough = effect.interval, min(effect.seeds, effect.baseline_seeds) >= _FEWEST_EQUIVALENT
    if enough and margin is not None and interval and -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    p = effect.p if effect.adjusted is None else effect.adjusted
    if p is None or p > alpha or (interval and interval.low <= 0 <= interval.high):
        return "undecided"
    return "better" if (effect.difference > 0) == higher_is_better else "worse"


def _p(ours: np.ndarray, theirs: np.ndarray, paired: bool, tied: float) -> float:
    if paired:
        return float(sign_flip_p((ours - theirs)[None], tied)[0])
    return permutation_p(ours, theirs, tied)


def _deviation(values: np.ndarray, tied: float) -> float:
    """Return the standard deviation of two or more values; 0 if they are tied."""
    return 0.0 if np.ptp(values) <= tied else float(values.std(ddof=1))


def _spread(differences: np.ndarray, tied: float) -> float | None:
    return _deviation(differences, tied) if len(differences) > 1 else None


def _pooled_deviation(ours: np.ndarray, theirs: np.ndarray, tied: float) -> float | None:
    """Return the standard deviation over seeds, pooled over the two arms; None if both have one seed."""
    repeated = [values for values in (ours, theirs) if len(values) > 1]
    if not repeated:
        return None
    squares = sum((len(values) - 1) * _deviation(values, tied) ** 2 for values in repeated)
    return sqrt(squares / sum(len(values) - 1 for values in repeated))


def _interval(centre: float, error: float, freedom: float) -> Interval:
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Interval(centre - reach, centre + reach)


def _paired_interval(differences: np.ndarray, tied: float) -> Interval | None:
    if len(differences) < 2:
        return None
    error = _deviation(differences, tied) / sqrt(len(differences))
    return _interval(float(differences.mean()), error, len(differences) - 1)


def _welch_interval(ours: np.ndarray, theirs: np.ndarray, tied: float) -> Interval | None:
    """Return Welch's t interval of a difference of means, with Satterthwaite's degrees of freedom."""
    if min(len(ours), len(theirs)) < 2:
        return None
    centre = float(ours.mean() - theirs.mean())
    first, second = (_deviation(values, tied) ** 2 / len(values) for values in (ours, theirs))
    if first + second == 0:
        return Interval(centre, centre)
    share = first / (first + second)
    freedom = 1 / (share**2 / (len(ours) - 1) + (1 - share) ** 2 / (len(theirs) - 1))
    return _interval(centre, sqrt(first + second), freedom)
