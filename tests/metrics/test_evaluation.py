"""Metrics against scikit-learn and by hand, however a split is cut into batches and shared among ranks."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, mean_squared_error, r2_score, recall_score, top_k_accuracy_score
from torch import Tensor, nn

from dlzoo import build_loss
from dlzoo.core import distributed, index
from dlzoo.metrics.accumulators import Largest, Moments, Sum, Table
from dlzoo.metrics.evaluation import Evaluation
from dlzoo.tasks.classification.metrics import ClassificationEvaluation
from dlzoo.tasks.regression.metrics import RegressionEvaluation, regression_metrics


def evaluated(
    logits: Tensor, labels: Tensor, *, batch: int = 37, loss: nn.Module | None = None, start: int = 0
) -> ClassificationEvaluation:
    """The evaluation of logits (N, K), labels (N,) in batches."""
    found = ClassificationEvaluation(loss or nn.CrossEntropyLoss(), logits.shape[1], details=True)
    for first in range(0, len(labels), batch):
        part = slice(first, min(first + batch, len(labels)))
        found.update(logits[part], labels[part], range(start + part.start, start + part.stop))
        found.count += part.stop - part.start
    return found


def noise(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(count, classes, generator=draw), torch.randint(classes, (count,), generator=draw)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_metrics_equal_sklearn(classes: int) -> None:
    logits, labels = noise(300, classes)
    evaluation, predicted = evaluated(logits, labels), logits.argmax(1)
    found = evaluation.compute()
    assert found["accuracy"] == pytest.approx((predicted == labels).float().mean().item())
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert ("accuracy_top5" in found) == (classes > 5)
    if classes > 5:
        assert found["accuracy_top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert np.array_equal(evaluation.confusion.total(), confusion_matrix(labels, predicted))


@pytest.mark.parametrize("classes", [1000, 1001, 5000])
def test_of_many_classes_no_confusion_matrix_is_kept(classes: int) -> None:
    logits, labels = noise(64, classes)
    logits[::2] += 20 * torch.nn.functional.one_hot(labels[::2], classes)
    evaluation, predicted = evaluated(logits, labels), logits.argmax(1)
    assert evaluation.confusion.total().numel() == (classes**2 if classes <= 1000 else 1)
    seen = sorted({*labels.tolist(), *predicted.tolist()})
    assert evaluation.compute()["f1_macro"] == pytest.approx(f1_score(labels, predicted, labels=seen, average="macro"))
    assert evaluation.compute()["accuracy"] == (predicted == labels).float().mean().item() >= 0.5
    recall = recall_score(labels, predicted, labels=labels.unique(), average=None)
    found = evaluation.by_class()["recall"]
    assert [found[number] for number in labels.unique()] == pytest.approx(recall)
    assert sum(value is None for value in found) == classes - len(labels.unique())


def test_the_calibration_error_is_the_mean_gap_of_fifteen_bins() -> None:
    logits, labels = noise(500, 4, seed=1)
    confidence, predicted = logits.softmax(1).max(1)
    hits, bins, gap = (predicted == labels).float(), (confidence * 15).ceil().int(), 0.0
    for number in range(1, 16):
        inside = bins == number
        if inside.any():
            gap += inside.float().mean().item() * abs((hits[inside].mean() - confidence[inside].mean()).item())
    assert evaluated(logits, labels).compute()["calibration_error"] == pytest.approx(gap, abs=1e-5)


def test_a_perfect_prediction() -> None:
    labels = torch.arange(7).repeat(3)
    evaluation = evaluated(100.0 * torch.eye(7)[labels], labels)
    found = evaluation.compute()
    assert found["accuracy"] == found["f1_macro"] == found["accuracy_top5"] == 1
    assert found["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert evaluation.worst() == []


def test_recall_of_each_class_is_scikit_learns_and_nothing_for_a_class_without_samples():
    logits, _ = noise(200, 5)
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(1))
    found = evaluated(logits, labels).by_class()["recall"]
    expected = recall_score(labels, logits.argmax(1), labels=range(4), average=None)
    assert found[:4] == pytest.approx(expected.tolist())
    assert found[4] is None


@pytest.mark.parametrize("batch", [1, 7, 64, 300])
@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        *(
            ("cross_entropy", {}),
            ("cross_entropy", {"class_weights": (1.0, 5.0, 0.2, 1.0)}),
            ("dice", {}),
            ("focal", {}),
        ),
        *(("bce", {}), ("nll", {}), ("tversky", {}), ("sum", {"of": ("cross_entropy", "hinge", "dice")})),
    ],
)
def test_metrics_do_not_depend_on_the_batches(batch: int, loss: str, settings: dict) -> None:
    logits, labels = noise(300, 4)
    loss_fn = build_loss(loss, **settings)
    found, whole = (evaluated(logits, labels, batch=size, loss=loss_fn) for size in (batch, 300))
    assert found.compute() == pytest.approx(whole.compute(), rel=1e-6)
    assert found.compute()["loss"] == pytest.approx(loss_fn(logits, labels).item(), rel=1e-6)
    assert found.worst() == whole.worst()
    wrong = logits.argmax(1) != labels
    assert found.worst()[0][3] == pytest.approx(logits.softmax(1).amax(1)[wrong].max().item())


def test_ranks_together_measure_what_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = noise(200, 6)
    parts = [evaluated(logits[part], labels[part], start=part.start) for part in (slice(0, 90), slice(90, 200))]
    states = [pickle.loads(pickle.dumps((part.count, accumulators(part)))) for part in parts]
    monkeypatch.setattr(distributed, "all_gather", lambda _: states)
    parts[1].merge_ranks()
    whole = evaluated(logits, labels)
    assert parts[1].compute() == pytest.approx(whole.compute(), rel=1e-6)
    assert parts[1].worst() == whole.worst()
    mine, theirs = parts[1].predictions(), whole.predictions()
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)


def accumulators(evaluation: Evaluation) -> dict[str, object]:
    kinds = (Sum, Moments, Largest, Table)
    return {name: part.cpu() for name, part in vars(evaluation).items() if isinstance(part, kinds)}


def memory(evaluation: Evaluation) -> int:
    """The bytes of what an evaluation holds, as it would be sent to another rank."""
    return len(pickle.dumps(accumulators(evaluation)))


@pytest.mark.parametrize("count", [1_000, 1_000_000])
def test_the_memory_of_an_evaluation_does_not_grow_with_the_split(count: int) -> None:
    """Of a million samples as of a thousand: what is added up takes the same."""
    classes, numbers = ClassificationEvaluation(nn.CrossEntropyLoss(), 10), RegressionEvaluation(nn.MSELoss())
    logits, labels = noise(1_000, 10)
    for start in range(0, count, 1_000):
        classes.update(logits, labels, range(start, start + 1_000))
        numbers.add_loss(logits, logits)
        numbers.update(logits, logits, range(start, start + 1_000))
    assert memory(classes) < 8_000
    assert memory(numbers) < 8_000


def test_predictions_are_kept_in_the_smallest_types() -> None:
    logits, labels = noise(700, 300)
    found = evaluated(logits, labels).predictions()
    assert {name: array.dtype for name, array in found.items()} == dict.fromkeys(
        ("id", "label", "prediction"), "uint16"
    )
    assert np.array_equal(found["id"], np.arange(700))
    assert np.array_equal(found["prediction"], logits.argmax(1))
    few = evaluated(*noise(20, 10)).predictions()
    assert {array.dtype for array in few.values()} == {np.dtype("uint8")}
    numbers = RegressionEvaluation(details=True)
    numbers.update(logits.double(), logits.double(), range(700))
    assert numbers.predictions()["label"].dtype == np.float32


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_regression_metrics_of_batches_equal_sklearn(offset: float) -> None:
    draw = torch.Generator().manual_seed(0)
    true = offset + torch.randn(500, 3, generator=draw, dtype=torch.float64)
    said = true + 0.3 * torch.randn(500, 3, generator=draw, dtype=torch.float64)
    evaluation = RegressionEvaluation()
    for first in range(0, 500, 33):
        part = slice(first, min(first + 33, 500))
        evaluation.update(said[part], true[part])
        evaluation.count += part.stop - part.start
    found = evaluation.compute()
    assert found == pytest.approx(regression_metrics(said, true), rel=1e-9)
    assert found["r2"] == pytest.approx(r2_score(true, said), rel=1e-9)
    assert found["rmse"] == pytest.approx(np.sqrt(mean_squared_error(true, said, multioutput="raw_values")).mean())


def test_the_names_of_metrics_are_what_is_measured():
    classes = evaluated(torch.eye(7), torch.arange(7)).compute()
    numbers = regression_metrics(torch.zeros(3, 1), torch.arange(3.0)[:, None])
    assert {metric.name for metric in index.marks("task", "classify").metrics} == set(classes)
    assert {metric.name for metric in index.marks("task", "regress").metrics} == {"loss", *numbers}
    lower = {name for name, metric in index.metrics().items() if not metric.higher_is_better}
    assert lower >= {"loss", "rmse", "mae", "calibration_error"}
    assert not lower & {"accuracy", "accuracy_top5", "f1_macro", "r2", "map50_voc10"}
