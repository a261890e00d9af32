"""Metrics against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion
from sklearn.metrics import f1_score, recall_score, top_k_accuracy_score

from dlzoo.metrics import LOWER_IS_BETTER, NAMES
from dlzoo.tasks.classification.metrics import classification_metrics, confusion_matrix, recall
from dlzoo.tasks.regression.metrics import regression_metrics


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_metrics_equal_sklearn(classes: int) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(300, classes), torch.randint(classes, (300,))
    found = {name: value.item() for name, value in classification_metrics(logits, labels).items()}
    predicted = logits.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).float().mean().item())
    assert found["f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert ("accuracy_top5" in found) == (classes > 5)
    if classes > 5:
        assert found["accuracy_top5"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert np.array_equal(confusion_matrix(logits, labels), sklearn_confusion(labels, predicted))


def test_the_calibration_error_is_the_mean_gap_of_fifteen_bins() -> None:
    torch.manual_seed(1)
    logits, labels = 3 * torch.randn(500, 4), torch.randint(4, (500,))
    confidence, predicted = logits.softmax(1).max(1)
    hits, bins, gap = (predicted == labels).float(), (confidence * 15).ceil().int(), 0.0
    for number in range(1, 16):
        inside = bins == number
        if inside.any():
            gap += inside.float().mean().item() * abs((hits[inside].mean() - confidence[inside].mean()).item())
    found = classification_metrics(logits, labels)["calibration_error"].item()
    assert found == pytest.approx(gap, abs=1e-5)


def test_a_perfect_prediction() -> None:
    labels = torch.arange(7).repeat(3)
    found = classification_metrics(100.0 * torch.eye(7)[labels], labels)
    assert found["accuracy"] == found["f1_macro"] == found["accuracy_top5"] == 1
    assert found["calibration_error"] == pytest.approx(0, abs=1e-6)


def test_recall_of_each_class_is_scikit_learns_and_nothing_for_a_class_without_samples():
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 5, generator=draw), torch.randint(0, 4, (200,), generator=draw)
    found = recall(logits, labels)
    wanted = recall_score(labels, logits.argmax(1), labels=range(4), average=None)
    assert found[:4].tolist() == pytest.approx(wanted.tolist())
    assert found[4].isnan()


def test_the_names_of_metrics_are_what_is_measured():
    classes = classification_metrics(torch.eye(7), torch.arange(7))
    numbers = regression_metrics(torch.zeros(3, 1), torch.arange(3.0)[:, None])
    objects = {name for name in NAMES if name.startswith(("map", "errors_"))}  # test_detection_metrics holds those
    assert {"loss", *classes, *numbers, *objects} == set(NAMES)
    assert set(NAMES) >= LOWER_IS_BETTER
