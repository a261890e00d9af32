"""Matching of anchors with objects by overlap."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import objects

#: What an object that no anchor overlaps enough gets: nothing, its best anchor, or all anchors that tie for best.
Rescue = Literal["none", "one", "ties"]


class Assignment(NamedTuple):
    """Targets of A anchors of N images; an anchor that is neither positive nor negative is ignored.

    Attributes:
        boxes: (N, A, 4) the object's box where positive; elsewhere the anchor itself, so that its offsets are 0.
        classes: (N, A) int64, the object's class where positive; elsewhere -1.
        positive: (N, A) bool.
        negative: (N, A) bool.
    """

    boxes: Tensor
    classes: Tensor
    positive: Tensor
    negative: Tensor


def match_anchors(priors: Tensor, labels: Tensor, *, low: float, high: float, rescue: Rescue = "none") -> Assignment:
    """Match anchors (A, 4), or (N, A, 4), with the object of labels (N, M, 6) that they overlap most.

    An anchor is positive at an IoU of `high` or more, negative below `low`. rescue=one: the best anchor of each object
    is matched with that object (arXiv:1512.02325, section 2.2); if several objects share it, with the last of them.
    rescue=ties: each best anchor of an object is positive, and matched with the object that it overlaps most
    (arXiv:1506.01497, section 3.1.2). Difficult objects are not trained on: an anchor that overlaps one by `low` or
    more is ignored, unless it is matched with another object.
    """
    priors = priors.expand(len(labels), *priors.shape[-2:])
    # Image by image: the pairs of all images at once would take gigabytes.
    images = [_assign(*image, low, high, rescue) for image in zip(priors, labels, strict=True)]
    return Assignment(*(torch.stack(values) for values in zip(*images, strict=True)))


def _assign(priors: Tensor, labels: Tensor, low: float, high: float, rescue: Rescue) -> Assignment:
    boxes, classes, there, difficult = objects(labels)
    overlap = iou(boxes[:, None], priors[None])
    hidden = overlap.masked_fill(~(there & difficult)[:, None], 0).amax(0)
    overlap = overlap.masked_fill(~(there & ~difficult)[:, None], 0)
    most, row = overlap.max(0)
    positive = (most >= high) & (most > 0)
    best = overlap.amax(1, keepdim=True)
    if rescue == "ties":
        positive |= ((overlap == best) & (best > 0)).any(0)
    elif rescue == "one":
        owner = torch.where(best[:, 0] > 0, torch.arange(len(boxes), device=boxes.device), -1)
        owner = torch.full_like(row, -1).scatter_reduce(0, overlap.argmax(1), owner, "amax")
        row, positive = torch.where(owner >= 0, owner, row), positive | (owner >= 0)
    return Assignment(
        boxes=torch.where(positive[:, None], boxes[row], priors),
        classes=torch.where(positive, classes[row], -1),
        positive=positive,
        negative=~positive & (most < low) & (hidden < low),
    )
