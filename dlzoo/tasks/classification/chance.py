"""Whether a classifier predicts better than chance."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

#: Standard deviations above the mean that chance exceeds in 2.5 % of cases.
_LIMIT = 1.96


def learned_nothing(hits: Sequence[int], labels: Sequence[int], predicted: Sequence[int]) -> str | None:
    """Return why predictions are no better than chance, in one sentence; None if they are, or if nobody could tell.

    Chance is what the same predictions score when they are assigned to the samples at random (the expected agreement
    of Cohen's kappa, 1960). So a network that always predicts the largest class is at chance, and one that finds some
    samples of a rare class is above it, even if its accuracy is below the share of the largest class. The test is
    one-sided at 2.5 %: the number of hits against its exact mean and variance over all assignments, with a continuity
    correction. A split for which even the labels themselves would not be above chance is too small to tell.

    Args:
        hits, labels, predicted: for each class, the number of correct predictions, of samples and of predictions.
    """
    samples = sum(labels)
    if samples < 2 or not _exceeds_chance(samples, labels, labels):
        return None
    if max(predicted) == samples:
        return f"it predicts one class for all {samples:,} test samples"
    correct = sum(hits)
    if _exceeds_chance(correct, labels, predicted):
        return None
    mean, deviation = random_hits(labels, predicted)
    return (
        f"its accuracy on {samples:,} test samples, {correct / samples:.3f}, is not better than chance"
        f" ({mean / samples:.3f}; below {(mean + _LIMIT * deviation) / samples:.3f} in 97.5 % of cases)"
    )


def _exceeds_chance(correct: int, labels: Sequence[int], predicted: Sequence[int]) -> bool:
    mean, deviation = random_hits(labels, predicted)
    return correct - 0.5 - mean > _LIMIT * deviation


def random_hits(labels: Sequence[int], predicted: Sequence[int]) -> tuple[float, float]:
    """Return mean and standard deviation of the number of hits of predictions that are assigned at random.

    The hits of a class are hypergeometric: their variance is l p (n - l) (n - p) / (n^2 (n - 1)), of l of n samples
    and p predictions, and the covariance of two classes is l l' p p' / (n^2 (n - 1)).
    """
    n = sum(labels)
    products = [l * p for l, p in zip(labels, predicted, strict=True)]  # noqa: E741
    own = sum(x * (n - l) * (n - p) for x, l, p in zip(products, labels, predicted, strict=True))  # noqa: E741
    between = sum(products) ** 2 - sum(x * x for x in products)
    return sum(products) / n, sqrt((own + between) / (n * n * (n - 1)))
