"""Classification metrics, accumulated over the batches of a split."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlzoo.metrics.accumulators import Largest, Sum, Table, smallest_int
from dlzoo.metrics.evaluation import Evaluation, add_loss, loss_of_split, standard_error_of_share
from dlzoo.tasks.classification import chance

#: Bins of the calibration error, and k of accuracy_top5.
_BINS, _TOP = 15, 5
#: Metrics that are means of values between 0 and 1 (the macro F1 approximately).
_SHARES = ("accuracy", "accuracy_top5", "f1_macro")
#: Number of mistakes to keep.
_MISTAKES = 24
#: With more classes than this, no confusion matrix is kept: its size is their square.
CONFUSION_CLASSES = 1000


def has_top(num_classes: int) -> bool:
    """Return whether accuracy_top5 is measured with this number of classes."""
    return num_classes > _TOP


class ClassificationEvaluation(Evaluation):
    """Loss, accuracy, accuracy_top5 (where K > 5), f1_macro and calibration_error of logits (N, K), labels (N,).

    The calibration error is the expected calibration error with 15 bins (arXiv:1706.04599, equation 3).

    Args:
        loss_fn: (logits, labels) -> the batch's loss.
        num_classes: K.
        details: whether to keep predictions, mistakes and, of up to 1,000 classes, the confusion matrix.
    """

    def __init__(self, loss_fn: nn.Module, num_classes: int, *, details: bool = False) -> None:
        super().__init__()
        self.loss_fn, self.classes, self.details = loss_fn, num_classes, details
        self.losses, self.top, self.bins = Sum(), Sum(), Sum()
        self.counts, self.confusion = Sum(), Sum()
        self.mistakes, self.table = Largest(_MISTAKES), Table()

    def update(self, logits: Tensor, labels: Tensor, indices: range) -> None:
        """Add a batch: logits (n, K) and labels (n,) of the samples `indices`."""
        predicted = logits.argmax(1)
        confidence = logits.softmax(1).amax(1)
        add_loss(self.losses, self.loss_fn, logits, labels)
        each = (labels[labels == predicted], labels, predicted)
        self.counts.update(torch.stack([numbers.bincount(minlength=self.classes) for numbers in each]))
        self.bins.update(_calibration(confidence, predicted == labels))
        if has_top(self.classes):
            self.top.update((logits.topk(_TOP).indices == labels[:, None]).sum())
        if self.details and self.classes <= CONFUSION_CLASSES:
            cells = (labels * self.classes + predicted).bincount(minlength=self.classes**2)
            self.confusion.update(cells.view(self.classes, self.classes))
        if self.details:
            wrong = torch.where(predicted != labels, confidence, -1.0).double()
            places = torch.arange(indices.start, indices.stop, device=labels.device)
            self.mistakes.update(wrong, torch.stack([places, labels, predicted], 1).double())
            columns = {"label": labels, "prediction": predicted}
            self.table.update(indices, **{key: smallest_int(value, self.classes) for key, value in columns.items()})

    def compute(self) -> dict[str, float]:
        hits, labels, predicted = self.counts.total().float()
        metrics = {
            "loss": loss_of_split(self.losses, self.loss_fn, self.count),
            "accuracy": float(hits.sum() / self.count),
        }
        if has_top(self.classes):
            metrics["accuracy_top5"] = float(self.top.total().float() / self.count)
        present = labels + predicted > 0  # a class without samples and predictions does not count
        metrics["f1_macro"] = float((2 * hits / (labels + predicted))[present].mean())
        count, confidence, correct = self.bins.total()
        metrics["calibration_error"] = float((correct - confidence).abs().sum() / count.sum())
        return metrics

    def learned_nothing(self) -> str | None:
        return chance.learned_nothing(*self.counts.total().tolist())

    def standard_error(self, metric: str, value: float, samples: int) -> float | None:
        """Return that of a mean of values between 0 and 1; None for the loss and the calibration error."""
        return standard_error_of_share(value, samples) if metric in _SHARES else None

    def by_class(self) -> dict[str, list[float | None]]:
        """Return the recall of each class; None for one without samples."""
        hits, labels, _ = self.counts.total().float()
        shares = (hits / labels).tolist()
        return {"recall": [share if share == share else None for share in shares]}

    def predictions(self) -> dict[str, NDArray[Any]]:
        return self.table.arrays()

    def worst(self) -> list[tuple[int, int, int, float]]:
        """Return (sample, label, prediction, confidence) of the most confident mistakes, in descending order."""
        assert self.mistakes.keys is not None
        pairs = zip(self.mistakes.keys.tolist(), self.mistakes.rows.long().tolist(), strict=True)
        return [(sample, label, predicted, score) for score, (sample, label, predicted) in pairs if score >= 0]


def _calibration(confidence: Tensor, correct: Tensor) -> Tensor:
    """Return, for each bin of confidence, the number of samples, sum of confidences and number correct: (3, 15)."""
    edges = torch.linspace(0, 1, _BINS + 1, dtype=confidence.dtype, device=confidence.device)
    bins = (torch.bucketize(confidence, edges, right=True) - 1).clamp(0, _BINS - 1)
    columns = torch.stack([torch.ones_like(confidence), confidence, correct.to(confidence.dtype)]).double()
    return torch.zeros(3, _BINS, dtype=torch.float64, device=confidence.device).index_add_(1, bins, columns)
