"""Non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
import torchvision.ops as ops
from torch import Tensor

from dlzoo.boxes.diou_nms import keep_by_diou
from dlzoo.boxes.overlap import pairwise_overlaps
from dlzoo.core.registries import NMS
from dlzoo.core.schema import Bounds, Fraction, Positive

#: boxes (N, A, 4), scores (N, A), classes (N, A) int64 -> scores (N, A).
Suppressor = Callable[[Tensor, Tensor, Tensor], Tensor]

#: Score below which soft-NMS discards a box (`threshold` in the authors' code).
FLOOR = 0.001

#: Maximal number of boxes processed at once, unless one group has more.
_CELLS = 2**16


_Count = Annotated[int, Bounds(minimum=1, maximum=100_000)]


@dataclass(frozen=True)
class NmsSettings:
    """Filters before and after suppression.

    `min_score`: boxes with a lower score are discarded. `candidates`: number of the best pairs of box and class per
    image that enter suppression. `detections`: maximal number of detections per image.
    """

    min_score: Fraction = 0.01
    candidates: _Count = 1000
    detections: _Count = 100


@NMS.register("nms", source="arXiv:1311.2524, section 2.2; torchvision.ops.nms")
def nms(*, iou: Fraction = 0.5) -> Suppressor:
    """s_i = 0 if IoU(M, b_i) > iou, M the best remaining box, repeatedly, per image and class"""
    return partial(_suppress, rule=partial(_suppress_by_iou, threshold=iou))


@NMS.register("diou_nms", source="arXiv:1911.08287, section 3.4 (DIoU-NMS)")
def diou_nms(*, iou: Fraction = 0.5) -> Suppressor:
    """s_i = 0 if IoU - (distance of centres / diagonal of hull)^2 >= iou: boxes with distant centres are both kept"""
    return partial(_suppress, rule=partial(_suppress_by_diou, threshold=iou))


@NMS.register("soft_nms_linear", source="arXiv:1704.04503, section 3; iou = 0.3 as in section 5")
def soft_nms_linear(*, iou: Fraction = 0.3) -> Suppressor:
    """s_i = s_i (1 - IoU(M, b_i)) if IoU(M, b_i) >= iou, M the best remaining box, repeatedly"""

    def decay(overlap: Tensor) -> Tensor:
        return torch.where(overlap >= iou, 1 - overlap, 1)

    return partial(_suppress, rule=partial(_decay_scores, decay=decay))


@NMS.register("soft_nms_gaussian", source="arXiv:1704.04503, section 3; sigma = 0.5 as in section 5")
def soft_nms_gaussian(*, sigma: Positive = 0.5) -> Suppressor:
    """s_i = s_i exp(-IoU(M, b_i)^2 / sigma), M the best remaining box, repeatedly"""

    def decay(overlap: Tensor) -> Tensor:
        return (-overlap.square() / sigma).exp()

    return partial(_suppress, rule=partial(_decay_scores, decay=decay))


class Groups(NamedTuple):
    """Boxes in groups of one image and class, within which they suppress each other, sorted by score.

    Attributes:
        boxes: (G, M, 4).
        scores: (G, M), 0 for padding after the last box of a group.
        sizes: number of boxes of each group, in descending order.
    """

    boxes: Tensor
    scores: Tensor
    sizes: list[int]


@torch.no_grad()
def _suppress(boxes: Tensor, scores: Tensor, classes: Tensor, *, rule: Callable[[Groups], Tensor]) -> Tensor:
    """Return the scores (N, A) after `rule` (groups -> (G, M)); boxes that are not finite get 0."""
    # At least float32, and one row more: the padding of groups that are shorter than others.
    dtype = torch.float64 if boxes.dtype == torch.float64 else torch.float32
    all_boxes = F.pad(boxes.reshape(-1, 4).to(dtype), (0, 0, 0, 1))
    all_scores = F.pad(scores.flatten().to(dtype), (0, 1))
    there = ((all_scores > 0) & all_boxes.sum(-1).isfinite()).nonzero()[:, 0]
    kept = torch.zeros_like(all_scores)
    for rows, sizes in _batch_groups(_keys(classes).flatten(), all_scores, there):
        kept[rows] = rule(Groups(all_boxes[rows], all_scores[rows], sizes))
    return kept[:-1].view_as(scores).to(scores.dtype)


def _keys(classes: Tensor) -> Tensor:
    """Return a key for each pair of image and class: (N, A) int64."""
    # The usual trick, an offset of the coordinates per class, loses the last bits of large coordinates.
    if not classes.numel():
        return classes
    lowest, highest = classes.aminmax()
    return torch.arange(len(classes), device=classes.device)[:, None] * (highest - lowest + 1) + classes


def _batch_groups(keys: Tensor, scores: Tensor, there: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """Yield groups of equal keys, batched by similar size: indices (G, M) sorted by score, and the sizes."""
    order = there[scores[there].argsort(descending=True, stable=True)]
    keys, by_key = keys[order].sort(stable=True)
    order, sizes = order[by_key], keys.unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    sizes, by_size = sizes.sort(descending=True, stable=True)
    starts, on_host, first = starts[by_size], sizes.tolist(), 0
    while first < len(on_host):
        longest = on_host[first]
        part = slice(first, first + max(1, _CELLS // longest))
        columns = torch.arange(longest, device=sizes.device)
        cells = (starts[part, None] + columns).clamp_max(len(order) - 1)
        yield order[cells].masked_fill(columns >= sizes[part, None], len(scores) - 1), on_host[part]
        first = part.stop


def _suppress_by_iou(groups: Groups, threshold: float) -> Tensor:
    kept = torch.zeros_like(groups.scores)
    for boxes, scores, left, size in zip(*groups[:2], kept, groups.sizes, strict=True):
        places = ops.nms(boxes[:size], scores[:size], threshold)
        left[places] = scores[places]
    return kept


def _suppress_by_diou(groups: Groups, threshold: float) -> Tensor:
    return groups.scores * keep_by_diou(groups.boxes, groups.scores > 0, threshold)


def _decay_scores(groups: Groups, decay: Callable[[Tensor], Tensor]) -> Tensor:
    """Take the best box of each group and decay the scores of the others, repeatedly, for all groups at once."""
    boxes, scores = groups.boxes.movedim(-1, 0).contiguous(), groups.scores.clone()
    taken = torch.zeros_like(scores)
    for done in range(groups.sizes[0]):
        # Drop the groups without remaining boxes, which are the last.
        while groups.sizes[len(scores) - 1] <= done:
            boxes, scores = boxes[:, :-1], scores[:-1]
        best, place = scores.max(1, keepdim=True)
        if not (best >= FLOOR).any():
            break
        # Added, not set: if only zeros are left, the best box is one that was taken before.
        taken[: len(scores)].scatter_add_(1, place, best)
        overlap = pairwise_overlaps(boxes.gather(2, place.expand(4, -1, -1)), boxes)[:, 0]
        scores.mul_(decay(overlap / (1 - overlap))).scatter_(1, place, 0)
    return taken.masked_fill(taken < FLOOR, 0)
