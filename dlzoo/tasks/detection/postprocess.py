"""Decode and suppress a detector's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.boxes.nms import NmsSettings, Suppressor
from dlzoo.data.transforms.letterbox import Fit, from_canvas


@torch.no_grad()
def select_detections(boxes: Tensor, scores: Tensor, nms: Suppressor, settings: NmsSettings) -> Tensor:
    """Return the best boxes of each image, best first, padded with zeros: x1, y1, x2, y2, score, class.

    Args:
        boxes: (N, A, 4), or (N, A, K, 4) where each class has its own boxes.
        scores: (N, A, K).
        nms: an entry of NMS.
        settings: the score threshold, and the numbers of candidates and detections.

    Returns:
        (N, settings.detections, 6).
    """
    num_classes = scores.shape[2]
    scores = _zero_below(settings.min_score, scores.float().flatten(1))
    scores, pairs = scores.topk(min(settings.candidates, scores.shape[1]))
    classes = pairs % num_classes
    boxes = _take_boxes(boxes.float().flatten(1, -2), pairs if boxes.ndim == 4 else pairs // num_classes)
    scores = _zero_below(settings.min_score, nms(boxes, scores, classes))
    scores, best = scores.topk(min(settings.detections, scores.shape[1]))
    rows = torch.cat((_take_boxes(boxes, best), scores[..., None], classes.gather(1, best)[..., None].float()), -1)
    return F.pad(rows.where(scores[..., None] > 0, 0), (0, 0, 0, settings.detections - rows.shape[1]))


def _zero_below(least: float, scores: Tensor) -> Tensor:
    """Set scores below `least`, and NaN, to 0."""
    return scores.where(scores >= least, 0)


def _take_boxes(boxes: Tensor, places: Tensor) -> Tensor:
    return boxes.gather(1, places[..., None].expand(-1, -1, 4))


def describe_detections(rows: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the detections (D, 6) of one image as {"name", "score", "box"}, without rows of score 0."""
    return [
        {"name": classes[int(index)], "score": round(score, 4), "box": [round(side, 2) for side in box]}
        for *box, score, index in rows.tolist()
        if score > 0
    ]


def to_original(rows: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Map the boxes of detections or labels (N, M, 6) from pixels of resized images to pixels of the originals."""
    return torch.cat([from_canvas(rows[..., :4], sizes, side, fit), rows[..., 4:]], dim=-1)
