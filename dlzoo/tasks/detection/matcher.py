"""Which of many fixed boxes are to find which object: by overlap, all at once."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dlzoo.boxes.iou import iou
from dlzoo.boxes.objects import objects

#: What an object gets that no prior overlaps enough: nothing, its best prior, or all of those that are its best.
Rescue = Literal["none", "one", "ties"]


class Assignment(NamedTuple):
    """What each of A priors of N images is to find; one that is neither positive nor negative is ignored.

    Attributes:
        boxes: (N, A, 4) the object's, where positive; elsewhere the prior itself, so that there is nothing to learn.
        classes: (N, A) int64, the object's, where positive; elsewhere -1.
        positive: (N, A) bool.
        negative: (N, A) bool.
    """

    boxes: Tensor
    classes: Tensor
    positive: Tensor
    negative: Tensor


def match_anchors(priors: Tensor, labels: Tensor, *, low: float, high: float, rescue: Rescue = "none") -> Assignment:
    """Give priors (A, 4), or (N, A, 4), the object of labels (N, M, 6) that they overlap most.

    A prior is positive from an IoU of `high`, negative below one of `low`. rescue=one: the best prior of each object is
    that object's (arXiv:1512.02325, section 2.2); of several objects that share it the last has it. rescue=ties: each
    best prior of an object is positive, for whatever object it overlaps most (arXiv:1506.01497, section 3.1.2).
    Difficult objects are taught to nobody: a prior that overlaps one by `low` is ignored, unless it has another object.
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
