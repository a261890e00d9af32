"""Evaluation of a detector: keeps detections and labels, and matches them once."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.metrics.accumulators import Table
from dlzoo.metrics.evaluation import Evaluation, standard_error_of_share
from dlzoo.tasks.detection.metrics.average_precision import Curve
from dlzoo.tasks.detection.metrics.summary import by_class, metrics_and_curves

#: An average precision (IoU 0.5) below one point is taken as none.
_NEAR_ZERO = 0.01


class DetectionEvaluation(Evaluation):
    """Detection metrics of a split. All detections are kept, as average precision needs them, and matched once."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.table = num_classes, Table()
        self._curves: list[Curve | None] | None = None

    def update(self, detections: Tensor, labels: Tensor, indices: range) -> None:
        """Add detections (n, D, 6) and labels (n, M, 6) of the samples `indices`."""
        self.table.update(indices, prediction=detections, label=labels)

    @property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Detections (N, D, 6) and labels (N, M, 6) of the split, on the CPU."""
        columns = self.table.columns()
        return columns["prediction"], columns["label"]

    def compute(self) -> dict[str, float]:
        detections, labels = self.rows
        metrics, self._curves = metrics_and_curves(detections, labels, self.num_classes)
        if "map50_voc10" not in metrics:
            raise UserError(
                f"none of the {len(labels)} evaluated images has an object that is not difficult: choose other data"
                " (data.val_fraction, data.limit)"
            )
        return metrics

    def curves(self) -> list[Curve | None]:
        """Return recall and precision of each class; None for one without objects. Call `compute` first."""
        assert self._curves is not None
        return self._curves

    def by_class(self) -> dict[str, list[float | None]]:
        return by_class(self.curves())

    def learned_nothing(self) -> str | None:
        """Return that nothing is detected, or that the average precision is below `_NEAR_ZERO`."""
        detections, labels = self.rows
        if not bool((detections[..., 4] > 0).any()):
            return f"it detects nothing in {len(labels):,} test images"
        known = [curve.all_points() for curve in self.curves() if curve is not None]
        precision = sum(known) / len(known)
        if precision >= _NEAR_ZERO:
            return None
        return f"its AP50 on {len(labels):,} test images is {precision:.4f}, which is close to 0"

    def standard_error(self, metric: str, value: float, samples: int) -> float | None:
        """Return that of a mean over images of values between 0 and 1, which the AP roughly is; None for errors."""
        return standard_error_of_share(value, samples) if metric.startswith("map") else None

    def predictions(self) -> dict[str, NDArray[Any]]:
        return self.table.arrays()
