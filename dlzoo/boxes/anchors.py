"""Anchors: the shapes that boxes are relative to, learnt from the data."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams

#: k-means ends in a local optimum: the best of so many starts is taken.
_STARTS = 10
_ROUNDS = 300


def kmeans_anchors(sizes: Tensor, count: int, seed: int = 0) -> Tensor:
    """`count` anchors (count, 2) sorted by area: k-means of sizes (B, 2), whose distance is 1 - IoU around one centre.

    The order of the sizes does not matter (arXiv:1612.08242, section 2, "Dimension Clusters"). Where there are fewer
    distinct sizes than anchors, some anchors are equal.

    Args:
        sizes: widths and heights; those without an area are left out.
        count: at least 1.
        seed: of the starts (k-means++: each next one is drawn in proportion to its distance).

    Raises:
        UserError: where there is no size.
    """
    sizes, times = sizes[(sizes > 0).all(1)].double().unique(dim=0, return_counts=True)
    if not len(sizes):
        raise UserError("anchors=kmeans needs boxes to learn shapes from, and the training split has none")
    starts = Streams(seed).draw(torch.arange(_STARTS), "anchors").uniform("start", count).to(sizes)
    found = [_refined(sizes, times, _start(sizes, times, chances)) for chances in starts]
    fits = torch.stack([(_overlaps(sizes, anchors).amax(1) * times).sum() for anchors in found])
    anchors = found[int(fits.argmax())]
    return anchors[anchors.prod(1).argsort(stable=True)].float()


def mean_iou(sizes: Tensor, anchors: Tensor) -> float:
    """How well anchors (A, 2) fit sizes (B, 2), B > 0: the mean IoU of each size with its best anchor, from 0 to 1."""
    return _overlaps(sizes.double(), anchors.double()).amax(1).mean().item()


def _overlaps(sizes: Tensor, anchors: Tensor) -> Tensor:
    """IoU of boxes around one centre: (B, 2), (A, 2) -> (B, A)."""
    intersection = torch.minimum(sizes[:, None], anchors).prod(-1)
    return intersection / (sizes.prod(1)[:, None] + anchors.prod(1) - intersection)


def _start(sizes: Tensor, times: Tensor, chances: Tensor) -> Tensor:
    """A start of k-means++ for each of `chances` (count,) in [0, 1)."""
    distances, chosen = times.double(), sizes[:0]
    for chance in chances:
        mass = distances.cumsum(0)
        place = torch.searchsorted(mass, chance * mass[-1], right=True).clamp_max(len(sizes) - 1)
        chosen = torch.cat((chosen, sizes[place][None]))
        distances = (1 - _overlaps(sizes, chosen).amax(1)) * times
    return chosen


def _refined(sizes: Tensor, times: Tensor, anchors: Tensor) -> Tensor:
    """Lloyd's rounds until nothing changes; an anchor without sizes stays where it is."""
    nearest = None
    for _ in range(_ROUNDS):
        before, nearest = nearest, _overlaps(sizes, anchors).argmax(1)
        if before is not None and torch.equal(before, nearest):
            break
        members = torch.zeros_like(anchors[:, 0]).index_add_(0, nearest, times.double())
        sums = torch.zeros_like(anchors).index_add_(0, nearest, sizes * times[:, None])
        anchors = torch.where(members[:, None] > 0, sums / members.clamp_min(1)[:, None], anchors)
    return anchors
