"""Metrics of a classifier, each from the logits of a whole split."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_recall,
)


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """logits (N, K), labels (N,) -> accuracy, accuracy_top5 (where K > 5), f1_macro, calibration_error; each ().

    The calibration error is the expected one with 15 bins (arXiv:1706.04599, equation 3).
    """
    classes = logits.shape[1]
    given: dict[str, Any] = {"target": labels, "num_classes": classes, "validate_args": False}
    metrics = {"accuracy": multiclass_accuracy(logits, average="micro", **given)}
    if classes > 5:
        metrics["accuracy_top5"] = multiclass_accuracy(logits, average="micro", top_k=5, **given)
    metrics["f1_macro"] = multiclass_f1_score(logits, average="macro", **given)
    metrics["calibration_error"] = multiclass_calibration_error(logits.softmax(1), n_bins=15, **given)
    return metrics


def recall(logits: Tensor, labels: Tensor) -> Tensor:
    """(K,): the share of each class's samples that is recognised; NaN for a class without samples."""
    shares = multiclass_recall(logits, labels, logits.shape[1], average="none", validate_args=False)
    return shares.where(labels.bincount(minlength=logits.shape[1]) > 0, float("nan"))


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, K) int64: row i, column j counts samples of class i that were taken for j."""
    return multiclass_confusion_matrix(logits, labels, logits.shape[1])
