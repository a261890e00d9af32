"""Metrics of a detector: detections and labels are kept, and matched once."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.metrics.accumulators import Table
from dlzoo.metrics.evaluation import Evaluation
from dlzoo.tasks.detection.metrics.average_precision import Curve, curves
from dlzoo.tasks.detection.metrics.matching import Matching, matching
from dlzoo.tasks.detection.metrics.summary import by_class, metrics_of


class DetectionEvaluation(Evaluation):
    """Keeps the detections of a split: average precision needs all of them. They are matched when they are measured."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.table = num_classes, Table()
        self._matched: Matching | None = None

    def update(self, detections: Tensor, labels: Tensor, indices: range) -> None:
        """Take in detections (n, D, 6) and labels (n, M, 6) of the samples `indices`."""
        self.table.update(indices, prediction=detections, label=labels)

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Detections (N, D, 6) and labels (N, M, 6) of the split, on the host."""
        columns = self.table.columns()
        return columns["prediction"], columns["label"]

    def compute(self) -> dict[str, float]:
        detections, labels = self.rows
        self._matched = matching(detections, labels)
        metrics = metrics_of(self._matched, detections, labels, self.num_classes)
        if "map50_voc10" not in metrics:
            raise UserError(
                f"none of {len(labels)} images that are measured has an object that counts: choose other data"
                " (data.val_fraction, data.limit)"
            )
        return metrics

    def curves(self) -> list[Curve | None]:
        """Recall and precision of each class; None for one without objects. After `compute`."""
        assert self._matched is not None
        return curves(self._matched, self.num_classes)

    def by_class(self) -> dict[str, list[float | None]]:
        return by_class(self.curves())

    def predictions(self) -> dict[str, NDArray[Any]]:
        return self.table.arrays()
