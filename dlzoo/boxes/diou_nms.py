"""Greedy suppression by DIoU, in blocks of the best boxes that are left."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dlzoo.boxes.iou import diou
from dlzoo.boxes.overlap import pairwise_overlaps

#: So many pairs of boxes are looked at in one go: four bytes of each fit into a core's cache.
_PAIRS = 2**18


def greedy_diou(boxes: Tensor, there: Tensor, threshold: float) -> Tensor:
    """Which boxes are left: (G, M) bool.

    A box goes if it overlaps a box that is left and comes before it in its group, with a DIoU of at least `threshold`.

    Args:
        boxes: (G, M, 4), each group in order.
        there: (G, M) bool.
        threshold: from 0 to 1.
    """
    # Boxes are named by their number; the last one, a point, stands for nobody.
    nobody = there.numel()
    boxes = torch.cat((boxes.view(-1, 4).mT, boxes.new_zeros(4, 1)), 1)
    rows = torch.arange(nobody, device=there.device).view_as(there).masked_fill(~there, nobody)
    left = torch.cat((there.flatten(), there.new_zeros(1)))
    low, sure = _bounds(threshold)
    while rows.numel():
        block = min(max(16, _PAIRS // rows.numel()), 128)
        head, rows = rows[:, :block], rows[:, block:]
        at_head = _at(boxes, head)
        group, one, other = (pairwise_overlaps(at_head, at_head).triu(1) > low).nonzero(as_tuple=True)
        left &= ~_beaten(*_confirmed(boxes, head[group, one], head[group, other], threshold), nobody)
        head = _packed(head, left)
        overlaps = pairwise_overlaps(_at(boxes, head), _at(boxes, rows))
        most = overlaps.amax(1)
        left[rows.masked_fill(~(most >= sure), nobody)] = False
        group, column = ((most > low) & (most < sure)).nonzero(as_tuple=True)
        pair, one = (overlaps[group, :, column] > low).nonzero(as_tuple=True)
        group, column = group[pair], column[pair]
        left[_confirmed(boxes, head[group, one], rows[group, column], threshold)[1]] = False
        rows = _packed(rows, left)
        rows = rows[(rows < nobody).any(1)]
    return left[:-1].view_as(there)


def _bounds(threshold: float) -> tuple[float, float]:
    """Shares that decide without the distance: up to the first nobody is beaten, from the second on everybody is.

    A share is intersection / sum of areas = IoU / (1 + IoU). Of boxes that overlap, IoU - ((1 - IoU) / 2)^2 <= DIoU:
    along each axis their centres are apart by at most half of what they do not share of their hull, and they do not
    share at most 1 - IoU of it.
    """
    rounding = 1e-4
    certain = 3 - math.sqrt(8 - 4 * threshold)
    return threshold / (1 + threshold) * (1 - rounding), certain / (1 + certain) * (1 + rounding)


def _confirmed(boxes: Tensor, stronger: Tensor, weaker: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The pairs, the weaker being nobody where their DIoU is below the threshold."""
    if not len(stronger):
        return stronger, weaker
    apart = diou(_at(boxes, stronger).mT, _at(boxes, weaker).mT) < threshold
    return stronger, weaker.masked_fill(apart, boxes.shape[1] - 1)


def _beaten(stronger: Tensor, weaker: Tensor, nobody: int) -> Tensor:
    """Who is beaten by somebody who is not: (nobody + 1,) bool. It settles from the best box down."""
    beaten = torch.zeros(nobody + 1, dtype=torch.bool, device=stronger.device)
    while len(stronger):
        before, beaten = beaten, torch.zeros_like(beaten)
        beaten[weaker.masked_fill(before[stronger], nobody)] = True
        if torch.equal(before, beaten):
            break
    return beaten


def _packed(rows: Tensor, left: Tensor) -> Tensor:
    """(G, M) -> (G, most left in a group): those that are left, in their order."""
    nobody, stays = len(left) - 1, left[rows]
    places = stays.cumsum(1)
    most = int(places[:, -1:].max()) if rows.numel() else 0
    places = places.sub_(1).masked_fill_(~stays, most)
    return rows.new_full((len(rows), most + 1), nobody).scatter_(1, places, rows)[:, :most]


def _at(boxes: Tensor, places: Tensor) -> Tensor:
    """boxes[:, places], ten times as fast."""
    return boxes.index_select(1, places.flatten()).view(4, *places.shape)
