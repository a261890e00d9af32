"""Simulate the intervals and tests of a report: coverage, and false findings.

    python scripts/prove_statistics.py

A line is a kind of noise over seeds and a number of seeds; +- is the standard error of the simulation. The intervals
are those of a mean, and of a paired and an unpaired difference that is not 0, where the arm's noise is twice the
baseline's; the BCa bootstrap is given for comparison. The last two columns are the fraction of comparisons with
p <= 0.05, and the fraction of families of ten arms and one baseline with any finding after Benjamini and Hochberg, when
no arm differs. The exit code is 1 if intervals of normal noise cover less than 93 or more than 97 %, or if the
fraction of findings exceeds 5 % by more than three standard errors.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from dlzoo.comparison.permutation import sign_flip_p
from dlzoo.comparison.statistics import RESOLUTION, Interval, adjust_p, bands, effect, mean_interval, verdict

SEEDS = (3, 6, 8, 20)
REPEATS, BCA_REPEATS, BCA_RESAMPLES = 20_000, 1000, 999
#: Number of seeds -> families of comparisons: 2^16 flips of each comparison of 20 seeds take most of the time.
FAMILIES = {3: 4000, 6: 4000, 8: 4000, 20: 1000}
ARMS, ALPHA = 10, 0.05
#: Comparisons whose flips are in memory at once; repeats whose results are compared with those of `effect`.
CHUNK, CHECKED = 200, 20
#: Images of a test set, the accuracy of the baseline, and the difference of the arm.
IMAGES, ACCURACY, DIFFERENCE = 2000, 0.75, 0.02

#: (generator, shape, scale) -> noise with mean 0.
Noise = Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]


def binomial(numbers: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Return the noise of the accuracy on a test set smaller by scale^2, in single precision like real accuracies."""
    images = round(IMAGES / scale**2)
    accuracy = (numbers.binomial(images, ACCURACY, shape) / images).astype(np.float32)
    return accuracy.astype(np.float64) - ACCURACY


NOISES: dict[str, Noise] = {
    "normal": lambda numbers, shape, scale: scale * 0.01 * numbers.normal(size=shape),
    "skewed (exponential)": lambda numbers, shape, scale: scale * 0.01 * (1 - numbers.exponential(size=shape)),
    "heavy tails (t, 5)": lambda numbers, shape, scale: scale * 0.01 * numbers.standard_t(5, size=shape),
    "binomial accuracy": binomial,
}


class Share(NamedTuple):
    """A simulated share and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} ± {100 * self.error:.1f}"


def share(hits: np.ndarray) -> Share:
    """Return the fraction of hits (repeats, ...); the error is over repeats, as hits within one are not independent."""
    shares = hits.reshape(len(hits), -1).mean(axis=1)
    return Share(float(shares.mean()), float(shares.std() / np.sqrt(len(shares))))


def covers(low: np.ndarray, high: np.ndarray, truth: float) -> Share:
    return share((low <= truth) & (truth <= high))


def interval_coverage(noise: Noise, seeds: int, numbers: np.random.Generator) -> list[Share]:
    """Return the coverage of the t intervals of a mean, a paired and an unpaired difference, and of BCa for a mean."""
    shape = (REPEATS, seeds)
    common = 0.01 * numbers.normal(size=shape)
    baseline = ACCURACY + noise(numbers, shape, 1.0)
    arm = ACCURACY + DIFFERENCE + noise(numbers, shape, 2.0)
    _, low, high = bands(baseline.T)
    _, paired_low, paired_high = bands(((arm + common) - (baseline + common)).T)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # three equal accuracies
        unpaired = stats.ttest_ind(arm, baseline, axis=1, equal_var=False).confidence_interval()
    for one in range(CHECKED):
        same = effect(seeded(arm[one] + common[one]), seeded(baseline[one] + common[one])).interval
        others = effect(seeded(arm[one]), seeded(baseline[one], first=seeds)).interval
        assert agree(mean_interval(baseline[one]), low[one], high[one])
        assert agree(same, paired_low[one], paired_high[one])
        assert agree(others, unpaired.low[one], unpaired.high[one])
    return [
        covers(low, high, ACCURACY),
        covers(paired_low, paired_high, DIFFERENCE),
        covers(unpaired.low, unpaired.high, DIFFERENCE),
        bca_coverage(baseline[:BCA_REPEATS]),
    ]


def bca_coverage(values: np.ndarray) -> Share:
    """Return the coverage of BCa, also for fewer values than `bca` accepts; an undefined interval covers nothing."""
    numbers = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        interval = stats.bootstrap(
            (values,), np.mean, axis=1, method="BCa", n_resamples=BCA_RESAMPLES, batch=100, rng=numbers
        ).confidence_interval
    return covers(interval.low, interval.high, ACCURACY)


def false_findings(noise: Noise, seeds: int, numbers: np.random.Generator) -> list[Share]:
    """Return the fraction of findings for one comparison and for a family with one baseline, when no arm differs."""
    families = FAMILIES[seeds]
    values = ACCURACY + noise(numbers, (families, ARMS + 1, seeds), 1.0)
    baseline, arms = values[:, :1], values[:, 1:]
    tied = RESOLUTION * np.maximum(np.abs(arms).max(axis=2), np.abs(baseline).max(axis=2)).ravel()
    differences = (arms - baseline).reshape(-1, seeds)
    chunks = [slice(start, start + CHUNK) for start in range(0, len(differences), CHUNK)]
    p = np.concatenate([sign_flip_p(differences[chunk], tied[chunk]) for chunk in chunks]).reshape(families, ARMS)
    rejected = stats.false_discovery_control(p, axis=1) <= ALPHA
    for one in range(CHECKED):
        printed = adjust_p([effect(seeded(arm), seeded(baseline[one, 0])) for arm in arms[one]])
        assert [each.p for each in printed] == list(p[one])
        significant = [each.adjusted is not None and each.adjusted <= ALPHA for each in printed]
        assert significant == list(rejected[one])
        # A verdict also depends on the interval, so it has no more false findings.
        called = [verdict(each, None, True, ALPHA) != "undecided" for each in printed]
        assert all(known for known, decided in zip(significant, called, strict=True) if decided)
    return [share(p <= ALPHA), share(rejected.any(axis=1))]


def seeded(values: np.ndarray, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values.tolist(), first))


def agree(printed: Interval | None, low: float, high: float) -> bool:
    return printed is not None and bool(np.allclose((printed.low, printed.high), (low, high), rtol=0, atol=1e-9))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    numbers = np.random.default_rng(0)
    wrong = []
    print("| noise | seeds | t, mean | t, paired | Welch, unpaired | BCa, mean | p <= 0.05 | found in a family of 10 |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, noise), seeds in itertools.product(NOISES.items(), SEEDS):
        coverage = interval_coverage(noise, seeds, numbers)
        findings = false_findings(noise, seeds, numbers)
        print(f"| {name} | {seeds} | {' | '.join(str(each) for each in coverage + findings)} |", flush=True)
        if name == "normal" and not all(0.93 <= each.value <= 0.97 for each in coverage[:3]):
            wrong.append(f"coverage, {name}, {seeds} seeds")
        if any(each.value > ALPHA + 3 * each.error for each in findings):
            wrong.append(f"findings, {name}, {seeds} seeds")
    print("\n".join(wrong) or "all within the bounds")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
