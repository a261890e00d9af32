"""Lovasz-Softmax, a surrogate of the mean intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.losses.targets import mean_of_sums, one_hot, to_full_precision


@LOSSES.register("lovasz", source="arXiv:1705.08790, algorithm 1", targets=("classification", "masks"))
class Lovasz(nn.Module):
    """The Lovasz extension of 1 - IoU, averaged over the classes that are present: logits (N, K, ...) -> ().

    The error of a class at a pixel is 1 - p where it is the target and p elsewhere, p being the softmax. The extension
    weights the errors, sorted from the largest, with what each adds to 1 - IoU: for errors of 0 and 1 the loss is the
    mean of 1 - IoU. The IoU is that of the batch, so that the loss of a split depends on its batches: it is their mean,
    weighted by their pixels. `per_image` averages the losses of the images instead.
    """

    def __init__(self, *, per_image: bool = False) -> None:
        super().__init__()
        self.per_image = per_image

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return self.from_sums(self.sums(input, target)).to(to_full_precision(input).dtype)

    def sums(self, input: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """Return (2,) float64: the loss times its weight, and the weight: the pixels, or with `per_image` the images.

        With `per_image`, images without a valid pixel do not count.
        """
        input = to_full_precision(input)
        known = torch.ones_like(target, dtype=torch.bool) if valid is None else valid
        errors, hits = _errors(input.softmax(1), one_hot(input, target))
        if self.per_image:
            errors, hits, known = (each.flatten(2) for each in (errors, hits, known[:, None]))
        else:
            errors, hits = (each.transpose(0, 1).flatten(1)[None] for each in (errors, hits))
            known = known.flatten()[None, None]
        losses = _mean_of_present(errors, hits, known).double()
        pixels = known.sum((1, 2))
        weights = (pixels > 0 if self.per_image else pixels).double()
        return torch.stack([(losses * weights).sum(), weights.sum()])

    def from_sums(self, sums: Tensor) -> Tensor:
        """Return the loss from the sums added over all batches."""
        return mean_of_sums(sums)


def _errors(p: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error of each class at each pixel, (N, K, ...), and where the class is the target."""
    hits = rows > 0
    return torch.where(hits, 1 - p, p), hits


def _mean_of_present(errors: Tensor, hits: Tensor, known: Tensor) -> Tensor:
    """Return the mean over the present classes of the Lovasz extension of 1 - IoU, (G,); 0 if none is present.

    Args:
        errors: (G, K, P), of the classes at the pixels of a group.
        hits: (G, K, P) bool, where the class is the target.
        known: (G, 1, P) bool; other pixels are left out.
    """
    errors, hits = errors.where(known, 0), hits & known
    order = errors.detach().masked_fill(~known, -1.0).argsort(dim=-1, descending=True, stable=True)
    ordered = hits.gather(-1, order)
    outside = (~hits & known).gather(-1, order)
    total = hits.sum(-1, keepdim=True)
    # The set of the pixels so far is wrong: intersection and union of prediction and target when all others are right.
    intersection = (total - ordered.cumsum(-1)).to(errors.dtype)
    union = (total + outside.cumsum(-1)).to(errors.dtype)
    # What the last pixel adds to 1 - IoU. The difference of two fractions near 1 would be lost in rounding.
    before = (union - 1).clamp(min=1)
    added = torch.where(ordered, 1.0, intersection / before).where(ordered | outside, 0) / union.clamp(min=1)
    losses = (errors.gather(-1, order) * added).sum(-1)
    present = total[..., 0] > 0
    return losses.where(present, 0).sum(-1) / present.sum(-1).clamp(min=1)
