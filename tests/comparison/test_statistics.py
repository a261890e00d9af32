"""Intervals, exact tests, verdicts and power: against scipy, by hand, and simulated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlzoo.comparison.permutation import MOST_PAIRS, permutation_p, sign_flip_p, smallest_p
from dlzoo.comparison.power import family, seeds_needed, seeds_to_reach
from dlzoo.comparison.statistics import Effect, Interval, adjust_p, bands, bca, effect, mean_interval, verdict


def seeded(values: Iterable[float], first: int = 0) -> dict[int, float]:
    return dict(enumerate((float(value) for value in values), first))


def arms(
    seeds: int, others: int | None = None, numbers: int = 0, difference: float = 0.01
) -> tuple[dict[int, float], dict[int, float]]:
    """Two arms with the same seeds, or with others."""
    draw = np.random.default_rng(numbers)
    arm = seeded(draw.normal(0.7 + difference, 0.01, seeds))
    return arm, seeded(draw.normal(0.7, 0.01, others or seeds), first=0 if others is None else 100)


def values(arm: dict[int, float]) -> np.ndarray:
    return np.array(list(arm.values()))


def ends(interval: Interval | None) -> Any:
    assert interval is not None
    return pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-12)


def paired_permutation(arm: dict[int, float], baseline: dict[int, float], **settings: Any) -> Any:
    def mean(differences: np.ndarray, axis: int) -> np.ndarray:
        return differences.mean(axis)

    differences = values(arm) - values(baseline)
    return stats.permutation_test(
        (differences,), mean, permutation_type="samples", vectorized=True, n_resamples=2**16, **settings
    )


def unpaired_permutation(arm: dict[int, float], baseline: dict[int, float], **settings: Any) -> Any:
    def difference(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return ours.mean(axis) - theirs.mean(axis)

    both = (values(arm), values(baseline))
    return stats.permutation_test(
        both, difference, permutation_type="independent", vectorized=True, n_resamples=2**16, **settings
    )


# Against scipy


@pytest.mark.parametrize("seeds", [2, 3, 6, 8, 20])
def test_the_interval_of_a_mean_is_student_s(seeds: int) -> None:
    sample = np.random.default_rng(seeds).normal(size=seeds)
    assert tuple(stats.ttest_1samp(sample, 0).confidence_interval()) == ends(mean_interval(sample))


@pytest.mark.parametrize("seeds", [2, 3, 6, 8, 20])
def test_the_interval_of_paired_arms_is_that_of_the_paired_t_test(seeds: int) -> None:
    arm, baseline = arms(seeds)
    found = effect(arm, baseline)
    assert tuple(stats.ttest_rel(values(arm), values(baseline)).confidence_interval()) == ends(found.interval)
    assert found.difference == pytest.approx(values(arm).mean() - values(baseline).mean())
    assert (found.seeds, found.baseline_seeds, found.paired, found.left_out) == (seeds, seeds, True, ())


@pytest.mark.parametrize(("seeds", "others"), [(2, 2), (3, 8), (8, 5), (20, 20)])
def test_the_interval_of_unpaired_arms_is_welch_s(seeds: int, others: int) -> None:
    arm, baseline = arms(seeds, others)
    found = effect(arm, baseline)
    expected = stats.ttest_ind(values(arm), values(baseline), equal_var=False).confidence_interval()
    assert tuple(expected) == ends(found.interval)
    assert (found.seeds, found.baseline_seeds, found.paired, found.left_out) == (seeds, others, False, ())


@pytest.mark.parametrize("seeds", [2, 3, 6, 8, 11])
@pytest.mark.parametrize("numbers", range(3))
def test_p_of_pairs_is_scipy_s(seeds: int, numbers: int) -> None:
    arm, baseline = arms(seeds, numbers=numbers, difference=0.005)
    assert effect(arm, baseline).p == pytest.approx(paired_permutation(arm, baseline).pvalue, rel=1e-12)


@pytest.mark.parametrize(("seeds", "others"), [(2, 2), (3, 4), (6, 3), (5, 5), (2, 9)])
@pytest.mark.parametrize("numbers", range(3))
def test_p_of_unpaired_arms_is_scipy_s(seeds: int, others: int, numbers: int) -> None:
    arm, baseline = arms(seeds, others, numbers=numbers, difference=0.005)
    assert effect(arm, baseline).p == pytest.approx(unpaired_permutation(arm, baseline).pvalue, rel=1e-12)


def test_random_relabellings_agree_with_scipy_s_random_ones() -> None:
    arm, baseline = arms(20, difference=0.003)
    rng = np.random.default_rng(1)
    assert 0.05 < effect(arm, baseline).p < 0.95
    assert effect(arm, baseline).p == pytest.approx(paired_permutation(arm, baseline, rng=rng).pvalue, abs=0.01)
    others = seeded(values(baseline), first=100)
    assert effect(arm, others).p == pytest.approx(unpaired_permutation(arm, others, rng=rng).pvalue, abs=0.01)


def test_bca_is_scipy_s_up_to_its_random_numbers() -> None:
    sample = np.random.default_rng(0).exponential(size=40)
    found = bca(sample)
    expected = stats.bootstrap(
        (sample,), np.mean, method="BCa", n_resamples=50_000, batch=5000, rng=np.random.default_rng(5)
    ).confidence_interval
    assert found is not None
    # Three standard errors of 9,999 resamples; the percentiles alone are 0.08 off.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.04)
    assert bca(sample) == found
    assert bca(sample[:19]) is None
    assert bca(sample[:20]) is not None
    assert bca([0.3] * 20) == Interval(pytest.approx(0.3), pytest.approx(0.3))


def test_the_family_is_adjusted_as_by_scipy_and_by_hand() -> None:
    ps = [0.01, 0.5, 0.02, 0.03, None, 1.0]
    family_of = [replace(effect(*arms(6)), p=p) for p in ps]
    found = [one.adjusted for one in adjust_p(family_of)]
    tested = [p for p in ps if p is not None]
    assert [p for p in found if p is not None] == pytest.approx(stats.false_discovery_control(tested))
    # p times (how many / rank), and no larger than those of larger p: 0.05, 0.05, 0.05, 0.625, 1
    assert found == [pytest.approx(0.05), pytest.approx(0.625), pytest.approx(0.05), pytest.approx(0.05), None, 1.0]
    assert adjust_p([]) == []


def test_adjusting_keeps_the_order_and_makes_nothing_smaller() -> None:
    ps = np.random.default_rng(0).uniform(size=50)
    found = [one.adjusted for one in adjust_p([replace(effect(*arms(3)), p=float(p)) for p in ps])]
    assert all(after >= before for before, after in zip(ps, found, strict=True))
    assert (np.diff(np.array(found)[np.argsort(ps)]) >= 0).all()
    alone = replace(effect(*arms(3)), p=0.04)
    assert adjust_p([alone])[0].adjusted == pytest.approx(0.04)


# By hand, and by trying everything


@pytest.mark.parametrize("differences", [(1, 2, 4), (1, -2, 4, 3), (1, 1, -1, 2, 2), (0, 0, 1, -3, 2, 2)])
def test_p_of_pairs_counts_all_sign_flips(differences: tuple[int, ...]) -> None:
    extreme = [
        abs(sum(sign * one for sign, one in zip(signs, differences, strict=True))) >= abs(sum(differences))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    found = effect(seeded(differences), seeded([0] * len(differences)))
    assert found.p == pytest.approx(sum(extreme) / len(extreme))


def test_p_of_unpaired_arms_counts_all_ways_to_deal_them_out() -> None:
    arm, baseline = [3.0, 5.0], [1.0, 2.0, 4.0]
    # Of the ten pairs out of 1 to 5, two have a sum of 8 or more: {3, 5} and {4, 5}.
    assert effect(seeded(arm), seeded(baseline, 10)).p == pytest.approx(2 * 2 / 10)


@pytest.mark.parametrize(("seeds", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_arms_that_differ_in_every_seed_have_the_smallest_p(seeds: int, smallest: float) -> None:
    found = effect(*arms(seeds, difference=1.0))
    assert found.p == found.smallest_p == smallest_p(seeds) == smallest


@pytest.mark.parametrize(("seeds", "others"), [(2, 2), (3, 3), (4, 4), (2, 8), (7, 3), (20, 20)])
def test_arms_that_do_not_overlap_have_the_smallest_p(seeds: int, others: int) -> None:
    found = effect(*arms(seeds, others, difference=1.0))
    assert found.p == found.smallest_p == smallest_p(seeds, others)
    assert found.p == pytest.approx(max(2 / math.comb(seeds + others, seeds), 2 / (2**16 + 1)))


def test_more_pairs_than_can_be_flipped_in_every_way() -> None:
    assert smallest_p(MOST_PAIRS) == 2 / 2**MOST_PAIRS
    assert smallest_p(MOST_PAIRS + 1) == smallest_p(30) == 2 / (2**MOST_PAIRS + 1)
    assert effect(*arms(30, difference=1.0)).p == smallest_p(30)


def test_noise_and_size_by_hand() -> None:
    found = effect(seeded([1, 2, 3]), seeded([2, 4, 6]))
    # Variances 1 and 4, of as many seeds: (1 + 4) / 2.
    assert found.noise == pytest.approx(math.sqrt(2.5))
    assert found.size == pytest.approx(-2 / math.sqrt(2.5))
    unequal = effect(seeded([1, 3]), seeded([2, 4, 6], 10))
    assert unequal.noise == pytest.approx(math.sqrt((2 * 1 + 4 * 2) / 3))


def test_seeds_that_one_arm_lacks_are_left_out_of_pairs() -> None:
    arm, baseline = {0: 1.0, 1: 2.0, 2: 9.0, 7: 3.0}, {7: 2.5, 1: 1.0, 0: 0.5, 5: 100.0}
    found = effect(arm, baseline)
    assert found.paired
    assert found.left_out == (2, 5)
    assert found == replace(effect({0: 1.0, 1: 2.0, 7: 3.0}, {0: 0.5, 1: 1.0, 7: 2.5}), left_out=found.left_out)


def test_the_deviation_is_that_of_the_differences() -> None:
    assert effect(seeded([1, 2, 3]), seeded([2, 4, 6])).deviation == pytest.approx(1)
    for count in (2, 6):
        arm, baseline = arms(count)
        assert effect(arm, baseline).deviation == pytest.approx((values(arm) - values(baseline)).std(ddof=1))
        unpaired = effect(arm, seeded(values(baseline), 100))
        assert unpaired.deviation == unpaired.noise
    assert effect({3: 0.7}, {3: 0.6}).deviation is None
    assert effect(seeded([1, 2, math.nan]), seeded([1, 2, 3])).deviation is None
    assert effect(seeded([0.5, 0.6, 0.7]), seeded([0.4, 0.5, 0.6])).deviation == 0


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [(8, 8, 4), (8, 4, 2), (4, 8, 3), (8, 5, 3), (2, 2, 2), (2, 8, 2), (8, 8, 3), (8, 5, 2), (5, 8, 2), (3, 3, 1)],
)
def test_arms_are_paired_where_half_of_the_smaller_have_the_same_seeds(first: int, second: int, common: int) -> None:
    arm, baseline = arms(first)[0], seeded(arms(second)[1].values(), first - common)
    found = effect(arm, baseline)
    if found.paired:
        assert 2 * common >= min(first, second)
        assert (found.seeds, found.baseline_seeds) == (common, common)
        assert len(found.left_out) == first + second - 2 * common
    else:
        assert 2 * common < min(first, second)
        assert (found.seeds, found.baseline_seeds, found.left_out) == (first, second, ())
        assert found.difference == pytest.approx(values(arm).mean() - values(baseline).mean())
        assert tuple(stats.ttest_ind(values(arm), values(baseline), equal_var=False).confidence_interval()) == ends(
            found.interval
        )


def test_one_common_seed_makes_no_pairs() -> None:
    arm, baseline = {0: 1.0, 1: 2.0, 2: 3.0}, {2: 4.0, 3: 6.0}
    found = effect(arm, baseline)
    assert (found.paired, found.seeds, found.baseline_seeds, found.left_out) == (False, 3, 2, ())
    assert found.difference == pytest.approx(2 - 5)


def test_what_cannot_be_known_of_one_seed_is_not_said() -> None:
    pair = effect({3: 0.7}, {3: 0.6})
    assert pair.difference == pytest.approx(0.1)
    assert (pair.interval, pair.p, pair.smallest_p, pair.noise, pair.size, pair.paired) == (*[None] * 5, True)
    crowd = {0: 0.6, 1: 0.5}
    for lone in (effect({3: 0.7}, crowd), effect(crowd, {3: 0.7})):
        assert (lone.interval, lone.p, lone.smallest_p, lone.paired) == (None, None, None, False)
        assert lone.noise == pytest.approx(0.1 / math.sqrt(2))
        assert seeds_needed(lone) is None
    assert seeds_needed(effect({3: 0.7}, {0: 0.5, 1: 0.5})) is None
    assert mean_interval([0.5]) is None
    with pytest.raises(ValueError, match="seed"):
        effect({}, {0: 1.0})


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("first", [0, 10])
def test_a_metric_that_is_not_finite_is_not_averaged_away(broken: float, first: int) -> None:
    for found in (
        effect(seeded([1, broken, 3]), seeded([1, 2, 2], first)),
        effect(seeded([1, 2, 3]), seeded([1, broken, 2], first)),
    ):
        assert math.isnan(found.difference)
        assert (found.interval, found.p, found.noise, found.size) == (None, None, None, None)
        assert verdict(found, 1.0, True) == "undecided"
        assert seeds_needed(found) is None
    assert mean_interval([1, broken, 3]) is None
    assert bca([broken, *range(20)]) is None


# Symmetry, scale, ties


@pytest.mark.parametrize("others", [None, 8])
def test_swapping_the_arms_turns_the_signs(others: int | None) -> None:
    arm, baseline = arms(6, others, difference=0.004) if others else arms(8, difference=0.004)
    there, back = effect(arm, baseline), effect(baseline, arm)
    assert back.p == there.p
    assert back.noise == pytest.approx(there.noise)
    assert (back.difference, back.size) == pytest.approx((-there.difference, -there.size))
    assert (-back.interval.high, -back.interval.low) == ends(there.interval)
    words = {"better": "worse", "worse": "better", "undecided": "undecided"}
    for higher in (True, False):
        forth = verdict(replace(there, p=0.01), None, higher)
        assert verdict(replace(back, p=0.01), None, higher) == words[forth]


@pytest.mark.parametrize("first", [0, 100])
def test_a_shift_of_both_arms_changes_nothing(first: int) -> None:
    arm, baseline = arms(7)
    baseline = seeded(values(baseline), first)
    before = effect(arm, baseline)
    after = effect(*({seed: value + 5 for seed, value in one.items()} for one in (arm, baseline)))
    assert after.p == before.p
    assert (after.difference, after.noise, after.size) == pytest.approx((before.difference, before.noise, before.size))
    assert (after.interval.low, after.interval.high) == ends(before.interval)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e30])
@pytest.mark.parametrize("first", [0, 100])
def test_units_change_nothing(scale: float, first: int) -> None:
    arm, baseline = arms(7)
    baseline = seeded(values(baseline), first)
    before = effect(arm, baseline)
    after = effect(*({seed: value * scale for seed, value in one.items()} for one in (arm, baseline)))
    assert after.p == before.p
    assert after.size == pytest.approx(before.size)
    assert (after.interval.low / scale, after.interval.high / scale) == ends(before.interval)


@pytest.mark.parametrize("first", [0, 10])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e8])
def test_arms_that_are_all_the_same(value: float, first: int) -> None:
    found = effect(seeded([value] * 6), seeded([value] * 6, first))
    assert (found.difference, found.p, found.noise, found.size) == (pytest.approx(0.0), 1.0, 0.0, None)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0, 0.0))
    assert verdict(found, None, True) == "undecided"
    assert verdict(found, 0.0, True) == "equivalent"
    assert seeds_needed(found) is None


def test_a_difference_that_is_the_same_in_every_seed() -> None:
    baseline = np.random.default_rng(0).uniform(0.6, 0.8, 6)
    found = effect(seeded(baseline + 0.1), seeded(baseline))
    assert found.p == found.smallest_p == 0.03125
    assert found.interval.low == found.interval.high == pytest.approx(0.1)
    assert found.noise > 0
    assert seeds_needed(found) == seeds_to_reach(0.05)
    constant = effect(seeded([0.9] * 4), seeded([0.8] * 4, 10))
    assert constant.p == constant.smallest_p
    assert (constant.noise, constant.size) == (0.0, None)
    assert constant.interval.low == constant.interval.high == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_accuracies_that_tie_as_counts_tie_as_fractions(kind: type) -> None:
    numbers = np.random.default_rng(0)
    for _ in range(30):
        counts = numbers.integers(1350, 1360, (2, 8))
        arm, baseline = (seeded((row.astype(kind) / kind(1797)).astype(float)) for row in counts)
        exact = effect(seeded(counts[0]), seeded(counts[1])).p
        assert effect(arm, baseline).p == exact
        apart = {seed + 50: value for seed, value in list(baseline.items())[:5]}
        assert effect(arm, apart).p == effect(seeded(counts[0]), seeded(counts[1][:5], 50)).p


def test_comparisons_are_tested_together_as_one_by_one() -> None:
    differences = np.random.default_rng(0).normal(size=(20, 6))
    together = sign_flip_p(differences, 1e-9)
    assert together.tolist() == [float(sign_flip_p(one[None], 1e-9)[0]) for one in differences]
    assert permutation_p(differences[0], differences[1], 1e-9) == permutation_p(
        differences[0][::-1], differences[1], 1e-9
    )


# Curves


def test_bands_are_the_intervals_of_each_point() -> None:
    curves = np.random.default_rng(0).normal(size=(5, 4))
    curves[0, 0] = curves[:4, 1] = curves[:, 2] = math.nan
    curves[2, 3] = math.inf
    mean, low, high = bands(curves)
    assert (mean[0], mean[1]) == pytest.approx((curves[1:, 0].mean(), curves[4, 1]))
    assert (low[0], high[0]) == ends(mean_interval(curves[1:, 0]))
    assert np.isnan([low[1], high[1], mean[2], low[2], high[2], low[3], high[3]]).all()
    assert mean[3] == math.inf


# Verdicts


def seen(low: float, high: float, p: float | None, after: float | None = None) -> Effect:
    return Effect((low + high) / 2, Interval(low, high), p, after, 0.01, 0.1, None, 8, 8, paired=True, left_out=())


@pytest.mark.parametrize(
    ("found", "margin", "expected"),
    [
        (seen(0.02, 0.04, 0.01), None, "better"),
        (seen(-0.04, -0.02, 0.01), None, "worse"),
        (seen(0.02, 0.04, 0.05), None, "better"),
        (seen(0.02, 0.04, 0.051), None, "undecided"),
        (seen(-0.001, 0.04, 0.01), None, "undecided"),
        (seen(0.02, 0.04, 0.01, after=0.2), None, "undecided"),
        (seen(0.02, 0.04, 0.01, after=0.02), 0.03, "better"),
        (seen(0.02, 0.04, 0.01), 0.04, "equivalent"),
        (seen(-0.01, 0.02, 0.6), 0.03, "equivalent"),
        (seen(-0.05, 0.02, 0.6), 0.03, "undecided"),
        (seen(-0.01, 0.02, None), None, "undecided"),
    ],
)
def test_verdicts(found: Effect, margin: float | None, expected: str) -> None:
    assert verdict(found, margin, higher_is_better=True) == expected
    turned = {"better": "worse", "worse": "better"}.get(expected, expected)
    assert verdict(found, margin, higher_is_better=False) == turned


# Power


def test_seeds_that_can_be_significant() -> None:
    assert (seeds_to_reach(0.05), seeds_to_reach(0.25), seeds_to_reach(0.005)) == (6, 3, 9)
    assert (seeds_to_reach(0.05, paired=False), seeds_to_reach(0.01, paired=False)) == (4, 5)
    assert seeds_to_reach(1e-6) is None


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("seeds", [1, 3, 4, 5, 6, 8, 10])
@pytest.mark.parametrize("comparisons", [1, 2, 10, 30])
def test_a_family_finds_something_exactly_from_the_count_that_is_said(
    seeds: int, comparisons: int, paired: bool
) -> None:
    one = effect(*arms(seeds, None if paired else seeds))
    together, enough = family(one.smallest_p, comparisons, paired)
    for count in range(1, comparisons + 1) if seeds > 1 else ():
        several = [replace(one, p=one.smallest_p if place < count else 1.0) for place in range(comparisons)]
        finds = any(each.adjusted is not None and each.adjusted <= 0.05 for each in adjust_p(several))
        assert finds == (together is not None and count >= together)
    assert (together is None) == (seeds < (6 if paired else 4))
    assert enough == seeds_to_reach(0.05 / comparisons, paired)

    def alone(count: int) -> bool:
        return family(smallest_p(count, None if paired else count), comparisons, paired).together == 1

    assert (alone(enough), alone(enough - 1)) == (True, False)


def test_a_family_by_hand() -> None:
    assert family(smallest_p(3, 3), 1, paired=False) == (None, 4)
    assert family(smallest_p(4, 4), 1, paired=False) == (1, 4)
    assert family(smallest_p(4, 4), 2, paired=False) == (2, 5)
    assert family(None, 1) == (None, 6)


def test_fewer_than_a_family_can_find_are_never_found_but_more_at_a_larger_p_are() -> None:
    pairs, comparisons = 8, 10
    together = family(smallest_p(pairs), comparisons).together
    assert together == 2
    one, numbers = effect(*arms(pairs)), np.random.default_rng(0)
    counts = set()
    for _ in range(500):
        ps = smallest_p(pairs) * numbers.integers(1, 12, comparisons)
        found = adjust_p([replace(one, p=float(p)) for p in ps])
        counts.add(sum(verdict(each, None, True) != "undecided" for each in found))
    assert counts - {0} and min(counts - {0}) >= together
    assert {each.adjusted for each in adjust_p([replace(one, p=5 * one.smallest_p)] * comparisons)} == {0.0390625}


def of_size(size: float, seeds: int = 20, paired: bool = True) -> Effect:
    """An effect whose differences, or whose arms, have the standard deviation 1."""
    numbers = np.random.default_rng(0)
    shape = (seeds,) if paired else (2, seeds)
    noise = stats.zscore(numbers.normal(size=shape), axis=-1, ddof=1)
    if paired:
        common = numbers.normal(size=seeds)
        return effect(seeded(common + noise + size), seeded(common))
    return effect(seeded(noise[0] + size), seeded(noise[1], 1000))


@pytest.mark.parametrize(
    ("size", "paired", "seeds"),
    # Cohen (1988) and G*Power give these for 80 % and 5 %.
    [(0.5, True, 34), (0.8, True, 15), (0.2, True, 199), (0.2, False, 394), (0.5, False, 64), (0.8, False, 26)],
)
def test_seeds_needed_are_those_of_the_tables(size: float, paired: bool, seeds: int) -> None:
    assert seeds_needed(of_size(size, paired=paired)) == seeds
    assert seeds_needed(of_size(-size, paired=paired)) == seeds


@pytest.mark.parametrize("paired", [True, False])
def test_seeds_needed_find_the_effect_in_four_of_five_experiments(paired: bool) -> None:
    needed = seeds_needed(of_size(1.0, paired=paired))
    numbers = np.random.default_rng(0)

    def found(seeds: int) -> float:
        arm = numbers.normal(1.0, 1.0, (20_000, seeds))
        if paired:
            return (stats.ttest_1samp(arm, 0, axis=1).pvalue <= 0.05).mean()
        return (stats.ttest_ind(arm, numbers.normal(size=arm.shape), axis=1).pvalue <= 0.05).mean()

    assert found(needed - 1) - 0.01 < 0.8 < found(needed) + 0.01


@pytest.mark.parametrize("size", [1.5, 1.7, 1.85, 2.2])
def test_so_few_pairs_that_all_must_agree_are_enough_only_where_they_do(size: float) -> None:
    needed = seeds_needed(of_size(size))
    numbers = np.random.default_rng(0)

    def found(seeds: int) -> float:
        return (sign_flip_p(numbers.normal(size, 1.0, (5000, seeds)), 1e-12) <= 0.05).mean()

    assert needed == (6 if found(6) >= 0.8 else 7)
    assert found(needed) > 0.8
    assert found(6) == pytest.approx(stats.norm.cdf(size) ** 6, abs=0.02)


def test_seeds_needed_have_bounds() -> None:
    assert seeds_needed(of_size(50.0)) == 6
    assert seeds_needed(of_size(50.0), alpha=0.005) == 9
    assert seeds_needed(of_size(50.0, paired=False)) == 4
    assert seeds_needed(of_size(1e-3)) is None
    assert seeds_needed(of_size(0.0)) is None
    assert seeds_needed(of_size(1.0), alpha=1e-6) is None
    assert seeds_needed(effect({0: 1.0}, {0: 2.0})) is None
    alphas = [seeds_needed(of_size(1.0), alpha) for alpha in (0.05, 0.01, 0.001)]
    assert alphas == sorted(set(alphas))


# Simulated


@pytest.mark.parametrize("seeds", [3, 6, 8])
def test_intervals_cover_what_they_say(seeds: int) -> None:
    numbers = np.random.default_rng(seeds)
    repeats = 1500
    hits = np.zeros((repeats, 3))
    for repeat in range(repeats):
        common = numbers.normal(size=seeds)
        arm, baseline = numbers.normal(0.5, 2.0, seeds), numbers.normal(size=seeds)
        intervals = (
            (mean_interval(baseline), 0.0),
            (effect(seeded(arm + common), seeded(baseline + common)).interval, 0.5),
            (effect(seeded(arm[:6]), seeded(baseline[:6], 100)).interval, 0.5),
        )
        hits[repeat] = [interval.low <= truth <= interval.high for interval, truth in intervals]
    # The standard error is 0.6 %.
    assert (abs(hits.mean(axis=0) - 0.95) < 0.02).all()


@pytest.mark.parametrize(("seeds", "others"), [(6, None), (8, None), (4, 5)])
def test_where_nothing_differs_little_is_found(seeds: int, others: int | None) -> None:
    numbers = np.random.default_rng(0)
    families, single, any_found = 400, 0, 0
    for _ in range(families):
        baseline = seeded(numbers.exponential(size=others or seeds), 0 if others is None else 100)
        found = adjust_p([effect(seeded(numbers.exponential(size=seeds)), baseline) for _ in range(5)])
        single += sum(one.p <= 0.05 for one in found)
        any_found += any(verdict(one, None, True) != "undecided" for one in found)
    error = math.sqrt(0.05 * 0.95 / families)
    assert 0 < single / (5 * families) <= 0.05 + 3 * error
    assert any_found / families <= 0.05 + 3 * error


def test_a_real_difference_is_found() -> None:
    found = adjust_p([effect(*arms(8, difference=0.03, numbers=number)) for number in range(10)])
    assert [verdict(one, None, True) for one in found] == ["better"] * 10
    assert [verdict(one, None, False) for one in found] == ["worse"] * 10


def test_two_seeds_that_agree_by_chance_are_not_equivalent():
    found = effect({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6})
    assert found.interval == Interval(0.0, 0.0)
    assert verdict(found, 0.01, True) == "undecided"
    assert verdict(effect({0: 0.5, 1: 0.6, 2: 0.7}, {0: 0.5, 1: 0.6, 2: 0.7}), 0.01, True) == "equivalent"
