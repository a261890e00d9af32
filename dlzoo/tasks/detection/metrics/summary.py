"""Metrics of a detector, each from the detections of a whole split.

Detections (N, D, 6) are x1, y1, x2, y2, score, class (score 0: nothing), labels (N, M, 6) as in boxes.objects, both in
pixels of the pictures as they came, on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from dlzoo.tasks.detection.metrics.average_precision import Curve, curves
from dlzoo.tasks.detection.metrics.coco import coco_metrics
from dlzoo.tasks.detection.metrics.error_types import error_types
from dlzoo.tasks.detection.metrics.matching import Matching, matching


def detection_metrics(detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """map50_voc10, map50_voc07, those of coco_metrics, and errors_* of error_types.

    What has no objects is left out.
    """
    return metrics_of(matching(detections, labels), detections, labels, num_classes)


def metrics_of(matched: Matching, detections: Tensor, labels: Tensor, num_classes: int) -> dict[str, float]:
    """`detection_metrics` of detections that are matched already."""
    there = [curve for curve in curves(matched, num_classes) if curve is not None]
    metrics: dict[str, float] = {}
    if there:
        metrics["map50_voc10"] = float(np.mean([curve.all_points() for curve in there]))
        metrics["map50_voc07"] = float(np.mean([curve.eleven_points() for curve in there]))
    metrics |= coco_metrics(detections, labels, num_classes)
    return metrics | {f"errors_{kind}": count for kind, count in error_types(matched).items()}


def by_class(found: Sequence[Curve | None]) -> dict[str, list[float | None]]:
    """A number for each class of precision_recall: ap50_voc10 and ap50_voc07 (None without objects), and objects."""
    return {
        "ap50_voc10": [None if curve is None else curve.all_points() for curve in found],
        "ap50_voc07": [None if curve is None else curve.eleven_points() for curve in found],
        "objects": [0 if curve is None else curve.objects for curve in found],
    }


def precision_recall(detections: Tensor, labels: Tensor, num_classes: int) -> list[Curve | None]:
    """Recall and precision of each class with its 1, 2, ... surest detections; None for one without objects."""
    return curves(matching(detections, labels), num_classes)
