"""Metrics of a detector, each from all detections of a split.

Detections (N, D, 6) are x1, y1, x2, y2, score, class (score 0: padding), labels (N, M, 6) as in boxes.objects, both in
pixels of the original images, on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dlzoo.tasks.detection.metrics.average_precision import Curve, curves
from dlzoo.tasks.detection.metrics.coco import coco_metrics
from dlzoo.tasks.detection.metrics.error_types import error_types
from dlzoo.tasks.detection.metrics.matching import match_detections


def detection_metrics(detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """Return map50_voc10, map50_voc07, the metrics of coco_metrics, and errors_* of error_types.

    A metric without objects is left out.
    """
    return metrics_and_curves(detections, labels, num_classes)[0]


def metrics_and_curves(
    detections: Tensor, labels: Tensor, num_classes: int
) -> tuple[dict[str, float], list[Curve | None]]:
    """Return `detection_metrics` and `precision_recall` of the same detections."""
    matched = match_detections(detections, labels)
    per_class = curves(matched, num_classes)
    errors = {f"errors_{kind}": count for kind, count in error_types(matched).items()}
    del matched  # hundreds of megabytes for a large split
    known = [curve for curve in per_class if curve is not None]
    metrics: dict[str, float] = {}
    if known:
        metrics["map50_voc10"] = float(np.mean([curve.all_points() for curve in known]))
        metrics["map50_voc07"] = float(np.mean([curve.eleven_points() for curve in known]))
    return metrics | coco_metrics(detections, labels, num_classes) | errors, per_class


def by_class(per_class: Sequence[Curve | None]) -> dict[str, list[float | None]]:
    """Return ap50_voc10 and ap50_voc07 (None without objects) and the number of objects of each class."""
    return {
        "ap50_voc10": [None if curve is None else curve.all_points() for curve in per_class],
        "ap50_voc07": [None if curve is None else curve.eleven_points() for curve in per_class],
        "objects": [0 if curve is None else curve.objects for curve in per_class],
    }


def precision_recall(detections: Tensor, labels: Tensor, num_classes: int) -> list[Curve | None]:
    """Return recall and precision of each class for its 1, 2, ... best detections; None for one without objects."""
    return curves(match_detections(detections, labels), num_classes)
