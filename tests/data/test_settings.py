"""Imbalance, noisy labels, samplers, shifted tests."""

import pytest
import torch

from dlzoo.builder.evaluate import evaluate
from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.data.data_set import TargetKind
from dlzoo.data.image_set import ImageSet
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.settings import DataSettings, choose_of_each_class
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import ImageTransform, Normalise
from dlzoo.data.transforms.corruptions import make_shift
from tests.small import SMALL, train

DIGITS = {"name": "digits"} | vars(DataSettings())


def counts(split: Split) -> list[int]:
    return split.labels.bincount(minlength=10).tolist()


def numbered(labels: torch.Tensor) -> Split:
    """A split whose pixels say which sample it is."""
    return Split(torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1), labels)


CLASSES = TargetKind("classes", single_class=True)


def feed(labels: torch.Tensor, sampler: str, seed: int = 0, **rest: object) -> TrainLoader:
    none = Normalise(torch.zeros(1), torch.full((1,), 1 / 255))
    return TrainLoader(
        numbered(labels), ImageTransform(lambda images, draw: images, none), Streams(seed), 10, sampler=sampler, **rest
    )


def epoch(made: TrainLoader, number: int) -> list[int]:
    steps = range(number * made.steps_per_epoch, (number + 1) * made.steps_per_epoch)
    return [int(pixel) for step in steps for batch in made.batches(step) for pixel in batch.images.flatten()]


def test_a_long_tail_falls_exponentially_and_leaves_validation_and_test_alone() -> None:
    usual, tailed = Splits.load(DIGITS), Splits.load(DIGITS | {"imbalance": 100.0})
    most = counts(usual.train)[0]
    assert counts(tailed.train) == [max(1, round(most * 100 ** (-place / 9))) for place in range(10)]
    assert counts(tailed.val) == counts(usual.val)
    assert counts(tailed.test) == counts(usual.test)


def test_a_ratio_is_what_was_asked_for_where_classes_are_unequal() -> None:
    split = numbered(torch.tensor([0] * 50 + [1] * 90 + [2] * 200))
    train, _, _ = DataSettings(imbalance=4.0, val_fraction=0.0).splits(ImageSet(split, split, ("a", "b", "c")), CLASSES)
    assert train.labels.bincount().tolist() == [50, 25, 12]
    rare = numbered(torch.tensor([0] * 200 + [1] * 90 + [2] * 10))
    train, _, _ = DataSettings(imbalance=4.0, val_fraction=0.0).splits(ImageSet(rare, rare, ("a", "b", "c")), CLASSES)
    assert train.labels.bincount().tolist() == [40, 20, 10]


def test_label_noise_changes_its_share_and_nothing_else() -> None:
    usual, noisy = Splits.load(DIGITS), Splits.load(DIGITS | {"label_noise": 0.2})
    changed = usual.train.labels != noisy.train.labels
    assert int(changed.sum()) == round(0.2 * len(changed))
    assert torch.equal(usual.train.images, noisy.train.images)
    assert torch.equal(usual.val.labels, noisy.val.labels)
    assert torch.equal(usual.test.labels, noisy.test.labels)
    moved = (noisy.train.labels - usual.train.labels)[changed] % 10
    assert moved.bincount(minlength=10)[1:].min() > 10  # to each of the nine others
    assert usual.fingerprint != noisy.fingerprint
    again = Splits.load(DIGITS | {"label_noise": 0.2})
    assert torch.equal(again.train.labels, noisy.train.labels)
    most = Splits.load(DIGITS | {"label_noise": 0.99})
    assert (most.train.labels != usual.train.labels).float().mean() > 0.97


def test_noise_is_that_of_an_untouched_generator() -> None:
    split = numbered(torch.arange(100) % 4)
    state = torch.get_rng_state()
    DataSettings(label_noise=0.5, imbalance=3.0).splits(ImageSet(split, split, ("a", "b", "c", "d")), CLASSES)
    assert torch.equal(state, torch.get_rng_state())


def test_a_uniform_sampler_sees_every_sample_once() -> None:
    made = feed(torch.arange(100) % 4, "uniform")
    assert sorted(epoch(made, 0)) == sorted(epoch(made, 1)) == list(range(100))
    assert epoch(made, 0) != epoch(made, 1)


def test_a_bootstrap_is_one_draw_for_all_epochs_and_leaves_out_a_third() -> None:
    labels = torch.zeros(250, dtype=torch.int64)
    seen = [sorted(epoch(feed(labels, "bootstrap"), number)) for number in (0, 1)]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 250
    left_out = [1 - len(set(epoch(feed(labels, "bootstrap", seed), 0))) / 250 for seed in range(20)]
    assert sum(left_out) / 20 == pytest.approx(0.368, abs=0.02)
    assert len(set(left_out)) > 5


def test_a_balanced_sampler_sees_each_class_equally_often() -> None:
    labels = torch.tensor([0] * 200 + [1] * 40 + [2] * 10)
    made = feed(labels, "balanced")
    seen = torch.tensor([place for number in range(8) for place in epoch(made, number)])
    shares = labels[seen].bincount() / len(seen)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)
    assert epoch(made, 0) != epoch(made, 1)


def test_a_sample_that_is_drawn_twice_is_augmented_in_two_ways() -> None:
    made = feed(torch.zeros(100, dtype=torch.int64), "bootstrap")
    drawn = len(set(epoch(made, 0)))
    made.transform = lambda images, labels, draw, step: (draw.integers("x", 250).float().view(-1, 1, 1, 1), labels)
    assert len(set(epoch(made, 0))) > drawn + 8


@pytest.mark.parametrize("sampler", ["uniform", "balanced", "bootstrap"])
def test_micro_batches_are_the_batch_cut(sampler: str) -> None:
    labels = torch.arange(100) % 4
    whole, parts = feed(labels, sampler), feed(labels, sampler, accumulate=5)
    for step in (0, 7, 13):
        (batch,) = whole.batches(step)
        cut = list(parts.batches(step))
        assert [len(part.labels) for part in cut] == [2] * 5
        assert torch.equal(torch.cat([part.images for part in cut]), batch.images)
        assert torch.equal(torch.cat([part.labels for part in cut]), batch.labels)


@pytest.mark.parametrize("kind", ["brightness", "blur", "noise"])
def test_a_shifted_test_is_the_same_for_any_batch_size_and_worse_the_more(kind: str) -> None:
    split = Splits.load(DIGITS).test
    usual = Normalise(torch.zeros(1), torch.ones(1))
    moved = []
    for severity in (1, 3, 5):
        large, small = (EvalLoader(split, usual, size, shift=make_shift(kind, severity)) for size in (len(split), 50))
        images = large.batch(0).images
        assert torch.equal(images, torch.cat([small.batch(number).images for number in range(len(small))]))
        plain = EvalLoader(split, usual, len(split)).batch(0).images
        moved.append(float((images - plain).abs().mean()))
    assert 0 < moved[0] < moved[1] < moved[2]


def test_a_shift_reaches_the_test_and_only_the_test() -> None:
    usual = train(*SMALL)
    shifted_run = train(*SMALL, "data.test_shift=noise", "data.test_severity=5")
    assert usual.metrics["val/accuracy"] == shifted_run.metrics["val/accuracy"]
    assert usual.metrics["test/loss"] != shifted_run.metrics["test/loss"]
    again = evaluate(str(usual.dir), ["data.test_shift=noise", "data.test_severity=5"])
    assert again["test/loss"] == pytest.approx(shifted_run.metrics["test/loss"])
    with pytest.raises(UserError, match=r"cannot be changed here; these can: data\.test_shift"):
        evaluate(str(usual.dir), ["data.limit=3"])


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.05])
@pytest.mark.parametrize(
    "sizes", [[2] * 1000, [2] * 300 + [10], [1, 2, 3, 4] * 50, [2] * 40, [1] * 40 + [2] * 40], ids=lambda s: f"{len(s)}"
)
def test_small_classes_are_cut_by_largest_remainder(sizes: list[int], fraction: float) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    chosen = choose_of_each_class(labels, fraction, 0, by_class=True)
    taken = labels[chosen].bincount(minlength=len(sizes))
    exact = torch.tensor(sizes) * fraction
    assert int(chosen.sum()) == round(fraction * len(labels))
    assert (taken >= exact.floor()).all()
    assert (taken <= exact.ceil()).all()
    assert (taken < torch.tensor(sizes)).all()
    assert torch.equal(chosen, choose_of_each_class(labels, fraction, 0, by_class=True))
    other = choose_of_each_class(labels, fraction, 1, by_class=True)
    assert not torch.equal(chosen, other)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("sizes", [[178, 182, 177], [600] * 10, [6] * 10, [59, 71, 48], [15] * 100, [1000, 100, 10, 1]])
def test_larger_classes_are_rounded_one_by_one_as_before(sizes: list[int], fraction: float) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    chosen = choose_of_each_class(labels, fraction, 0, by_class=True)
    assert labels[chosen].bincount(minlength=len(sizes)).tolist() == [round(fraction * size) for size in sizes]


@pytest.mark.parametrize(("fraction", "sizes"), [(0.1, [1] * 30), (0.1, [2, 2])])
def test_what_cannot_be_cut_is_left_whole(fraction: float, sizes: list[int]) -> None:
    """A class of one sample remains in training; a tenth of four is none."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    assert not choose_of_each_class(labels, fraction, 0, by_class=True).any()
