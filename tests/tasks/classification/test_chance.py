"""Whether the predictions of a classifier are better than chance."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from dlzoo.tasks.classification.chance import learned_nothing, random_hits


def judge(labels: np.ndarray, predicted: np.ndarray, classes: int) -> str | None:
    counted = (labels[labels == predicted], labels, predicted)
    return learned_nothing(*(np.bincount(each, minlength=classes).tolist() for each in counted))


def test_mean_and_variance_ofrandom_hits_are_those_of_all_assignments() -> None:
    labels, predicted = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 2, 0])
    hits = [np.sum(labels == np.array(each)) for each in permutations(predicted)]
    counts = [np.bincount(each, minlength=4).tolist() for each in (labels, predicted)]
    assert random_hits(*counts) == pytest.approx((np.mean(hits), np.std(hits)))


@pytest.mark.parametrize(
    ("labels", "predicted", "says"),
    [
        ([0] * 50 + [1] * 50, [1] * 100, "it predicts one class for all 100 test samples"),
        ([0] * 95 + [1] * 5, [0] * 100, "it predicts one class for all 100"),
        ([0, 1] * 50, [0, 0, 1, 1] * 25, "100 test samples, 0.500, is not better than chance (0.500; below 0.5"),
        ([0, 1] * 50, [1, 0] * 50, "0.000, is not better than chance"),
        # As good as the largest class, but it finds half of the rare class with few false alarms.
        ([0] * 95 + [1] * 5, [0] * 92 + [1] * 3 + [1] * 3 + [0] * 2, None),
        ([0, 1] * 50, [0, 1] * 35 + [1, 0] * 15, None),
        # Too few samples for anybody to be better than chance, or nothing to tell apart.
        ([0, 1], [1, 1], None),
        ([0] * 100, [0] * 100, None),
        ([0] * 100, [0] * 50 + [1] * 50, None),
    ],
)
def test_what_is_chance(labels: list[int], predicted: list[int], says: str | None) -> None:
    learned_nothing = judge(np.array(labels), np.array(predicted), 3)
    assert (learned_nothing is None) == (says is None)
    assert (says or "") in (learned_nothing or "")


@pytest.mark.parametrize("shares", [[0.1] * 10, [0.9, 0.1], [0.5, 0.3, 0.2]])
def test_labels_at_random_are_chance_in_at_least_95_of_100_cases(shares: list[float]) -> None:
    draw = np.random.default_rng(0)
    labels, others = draw.choice(len(shares), (2, 400, 200), p=shares)
    found = [judge(one, other, len(shares)) is None for one, other in zip(labels, others, strict=True)]
    assert np.mean(found) < 0.05
