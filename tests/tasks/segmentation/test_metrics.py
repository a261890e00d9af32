"""Metrics of masks against counts pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from dlzoo.core import index
from dlzoo.data.mask_set import IGNORED
from dlzoo.losses.cross_entropy import CrossEntropy
from dlzoo.tasks.segmentation.boundary import boundary_scores
from dlzoo.tasks.segmentation.losses import MaskLoss
from dlzoo.tasks.segmentation.metrics import SegmentationEvaluation

CASES = 200


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, K, H, W) and masks with ignored pixels, of random sizes; some classes are nowhere."""
    numbers = torch.Generator().manual_seed(seed)
    n, k, high, wide = (
        int(torch.randint(low, top, (), generator=numbers)) for low, top in ((1, 4), (2, 7), (1, 8), (1, 8))
    )
    logits = torch.randn(n, k, high, wide, generator=numbers)
    masks = torch.randint(0, int(torch.randint(1, k + 1, (), generator=numbers)), (n, high, wide), generator=numbers)
    masks[torch.rand(n, high, wide, generator=numbers) < 0.3] = IGNORED
    return logits, masks.byte()


def evaluated(logits: torch.Tensor, masks: torch.Tensor, parts: int = 1) -> SegmentationEvaluation:
    evaluation = SegmentationEvaluation(MaskLoss(CrossEntropy()), logits.shape[1], details=True)
    size = (masks.shape[2], masks.shape[1])
    start = 0
    for some, others in zip(logits.tensor_split(parts), masks.tensor_split(parts), strict=True):
        if len(others):
            evaluation.update(some, others, [size] * len(others), range(start, start + len(others)))
        start += len(others)
    evaluation.count = len(masks)
    return evaluation


def test_miou_dice_and_accuracy_are_those_of_counted_pixels() -> None:
    for seed in range(CASES):
        logits, masks = case(seed)
        ious, dices, right, known = [], [], 0, 0
        guess = logits.argmax(1)
        for number in range(logits.shape[1]):
            both = either = total = 0
            for place in np.ndindex(*masks.shape):
                if masks[place] != IGNORED:
                    hit, said = int(masks[place]) == number, int(guess[place]) == number
                    both, either, total = both + (hit and said), either + (hit or said), total + hit + said
            if either:
                ious.append(both / either)
                dices.append(2 * both / total)
            right += both
        known = int((masks != IGNORED).sum())
        metrics = evaluated(logits, masks, parts=1 + seed % 3).compute()
        expected = {
            "miou": np.mean(ious) if ious else 0.0,
            "dice": np.mean(dices) if dices else 0.0,
            "pixel_accuracy": right / known if known else 0.0,
        }
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-12), seed
        assert math.isfinite(metrics["loss"])


def test_the_metrics_are_those_that_the_task_registers() -> None:
    logits, masks = case(1)
    metrics = evaluated(logits, masks).compute()
    assert set(metrics) == {metric.name for metric in index.marks("task", "segment").metrics}


def test_each_image_keeps_intersection_and_union() -> None:
    logits, masks = case(3)
    evaluation = evaluated(logits, masks, parts=2)
    kept, cells = evaluation.predictions(), evaluation.confusion.total()
    assert kept["intersection"].sum(0).tolist() == cells.diagonal().tolist()
    union = cells.sum(0) + cells.sum(1) - cells.diagonal()
    assert kept["union"].sum(0).tolist() == union.tolist() and kept["id"].tolist() == list(range(len(masks)))


def brute_boundary(inside: np.ndarray) -> set[tuple[int, int]]:
    high, wide = inside.shape
    found = set()
    for row, column in zip(*np.nonzero(inside), strict=True):
        beside = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        if any(0 <= r < high and 0 <= c < wide and not inside[r, c] for r, c in beside):
            found.add((int(row), int(column)))
    return found


def test_boundary_f1_is_that_of_distances_between_all_pairs() -> None:
    numbers = np.random.default_rng(0)
    for _ in range(60):
        high, wide = numbers.integers(2, 14, 2)
        truth = np.kron(numbers.integers(0, 3, (7, 7)), np.ones((2, 2)))[:high, :wide].astype(np.uint8)
        guess = np.where(numbers.random((high, wide)) < 0.15, numbers.integers(0, 3, (high, wide)), truth).astype(
            np.uint8
        )
        near = max(1.0, 0.0075 * math.hypot(high, wide))
        expected = np.zeros((2, 3))
        for number in np.union1d(truth, guess):
            edges = brute_boundary(guess == number), brute_boundary(truth == number)
            if not any(edges):
                continue
            shares = []
            for some, others in (edges, edges[::-1]):
                close = [any(math.dist(a, b) <= near for b in others) for a in some]
                shares.append(np.mean(close) if close else 0.0)
            score = 2 * shares[0] * shares[1] / sum(shares) if sum(shares) else 0.0
            expected[:, number] += score, 1
        assert boundary_scores([(guess, truth)], 3).numpy() == pytest.approx(expected)


def test_a_band_of_ignored_pixels_has_its_boundary_in_the_middle() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 8:12], truth[:, 12:] = IGNORED, 1
    exact = np.zeros((20, 20), np.uint8)
    exact[:, 10:] = 1
    scores, images = boundary_scores([(exact, truth)], 2)
    assert (scores / images).tolist() == [1, 1]
    far = np.roll(exact, 3, 1)
    far[:, :3] = 0
    scores, images = boundary_scores([(far, truth)], 2)
    assert (scores / images).tolist() == [0, 0]
    assert boundary_scores([(exact, np.full_like(truth, IGNORED))], 2).sum() == 0
