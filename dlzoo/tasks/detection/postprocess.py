"""Decode and suppress a detector's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.boxes.nms import NmsSettings, Suppressor
from dlzoo.data.transforms.letterbox import Fit, original


@torch.no_grad()
def select_detections(boxes: Tensor, scores: Tensor, suppress: Suppressor, settings: NmsSettings) -> Tensor:
    """The best boxes of each image, best first: (N, settings.detections, 6) x1, y1, x2, y2, score, class; else zeros.

    Args:
        boxes: (N, A, 4), or (N, A, K, 4) where each class has boxes of its own.
        scores: (N, A, K).
        suppress: an entry of NMS.
        settings: what is looked at and what is kept.
    """
    num_classes = scores.shape[2]
    scores = _from(settings.min_score, scores.float().flatten(1))
    scores, pairs = scores.topk(min(settings.candidates, scores.shape[1]))
    classes = pairs % num_classes
    boxes = _at(boxes.float().flatten(1, -2), pairs if boxes.ndim == 4 else pairs // num_classes)
    scores = _from(settings.min_score, suppress(boxes, scores, classes))
    scores, best = scores.topk(min(settings.detections, scores.shape[1]))
    rows = torch.cat((_at(boxes, best), scores[..., None], classes.gather(1, best)[..., None].float()), -1)
    return F.pad(rows.where(scores[..., None] > 0, 0), (0, 0, 0, settings.detections - rows.shape[1]))


def _from(least: float, scores: Tensor) -> Tensor:
    """0 for a score below `least`, and for one that is no number."""
    return scores.where(scores >= least, 0)


def _at(boxes: Tensor, places: Tensor) -> Tensor:
    return boxes.gather(1, places[..., None].expand(-1, -1, 4))


def describe_detections(rows: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Detections (D, 6) of one image as {"name", "score", "box"}; rows of score 0 are none."""
    return [
        {"name": classes[int(index)], "score": round(score, 4), "box": [round(side, 2) for side in box]}
        for *box, score, index in rows.tolist()
        if score > 0
    ]


def in_original(rows: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Boxes of detections or labels (N, M, 6), in pixels of images, as pixels of the images that they came from."""
    return torch.cat([original(rows[..., :4], sizes, side, fit), rows[..., 4:]], dim=-1)
