"""Anchor sizes, learnt from the data by k-means."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams

#: Number of starts of k-means, of which the best is taken: each ends in a local optimum.
_STARTS = 10
_ROUNDS = 300


def kmeans_anchors(sizes: Tensor, count: int, seed: int = 0) -> Tensor:
    """Return `count` anchors (count, 2) sorted by area: k-means of sizes (B, 2) with distance 1 - IoU, centres aligned.

    The order of the sizes does not matter (arXiv:1612.08242, section 2, "Dimension Clusters"). If there are fewer
    distinct sizes than anchors, some anchors are equal.

    Args:
        sizes: widths and heights; those with area 0 are ignored.
        count: at least 1.
        seed: seed of the starts (k-means++: each next anchor is drawn with probability proportional to its distance).

    Raises:
        UserError: if there are no sizes with a positive area.
    """
    sizes, times = sizes[(sizes > 0).all(1)].double().unique(dim=0, return_counts=True)
    if not len(sizes):
        raise UserError(
            "anchors=kmeans needs boxes, and the training split has none (difficult objects and crowds do not count);"
            " set model.anchors=paper, or use other data"
        )
    starts = Streams(seed).draw(torch.arange(_STARTS), "anchors").uniform("start", count).to(sizes)
    candidates = [_lloyd(sizes, times, _start(sizes, times, chances)) for chances in starts]
    fits = torch.stack([(_overlaps(sizes, anchors).amax(1) * times).sum() for anchors in candidates])
    anchors = candidates[int(fits.argmax())]
    return anchors[anchors.prod(1).argsort(stable=True)].float()


def mean_iou(sizes: Tensor, anchors: Tensor) -> float:
    """Return the mean IoU, from 0 to 1, of sizes (B, 2), B > 0, with their best anchors of (A, 2)."""
    return _overlaps(sizes.double(), anchors.double()).amax(1).mean().item()


def _overlaps(sizes: Tensor, anchors: Tensor) -> Tensor:
    """Return the IoU of boxes with aligned centres: (B, 2), (A, 2) -> (B, A)."""
    intersection = torch.minimum(sizes[:, None], anchors).prod(-1)
    return intersection / (sizes.prod(1)[:, None] + anchors.prod(1) - intersection)


def _start(sizes: Tensor, times: Tensor, chances: Tensor) -> Tensor:
    """Return the initial anchors of k-means++, drawn with the random numbers `chances` (count,) in [0, 1)."""
    distances, chosen = times.double(), sizes[:0]
    for chance in chances:
        mass = distances.cumsum(0)
        place = torch.searchsorted(mass, chance * mass[-1], right=True).clamp_max(len(sizes) - 1)
        chosen = torch.cat((chosen, sizes[place][None]))
        distances = (1 - _overlaps(sizes, chosen).amax(1)) * times
    return chosen


def _lloyd(sizes: Tensor, times: Tensor, anchors: Tensor) -> Tensor:
    """Run Lloyd's algorithm until the assignment is stable; an anchor without sizes is kept."""
    nearest = None
    for _ in range(_ROUNDS):
        before, nearest = nearest, _overlaps(sizes, anchors).argmax(1)
        if before is not None and torch.equal(before, nearest):
            break
        members = torch.zeros_like(anchors[:, 0]).index_add_(0, nearest, times.double())
        sums = torch.zeros_like(anchors).index_add_(0, nearest, sizes * times[:, None])
        anchors = torch.where(members[:, None] > 0, sums / members.clamp_min(1)[:, None], anchors)
    return anchors
