"""Whether predicted masks fit their own images better than they would fit other ones."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from dlzoo.metrics.accumulators import Sum

#: Standard deviations above the mean that chance exceeds in 2.5 % of cases.
_LIMIT = 1.96
#: Rounding errors of fractions that are added up over the images.
_ROUNDING = 1e-9


class Agreement:
    """The fraction of right pixels of each image, against what the same prediction would have on an average image.

    The excess of an image is its accuracy less the sum over the classes of the fraction that is predicted times the
    mean fraction of the class over all images. Its mean over the images is 0 for every constant prediction, as that
    of Cohen's kappa (1960) is, and above 0 for one that finds some pixels of a rare class, even if its accuracy is
    below that of the most frequent class everywhere. The test is one-sided at 2.5 %, over the images.
    """

    def __init__(self) -> None:
        self.products, self.fractions = Sum(), Sum()

    def update(self, cells: Tensor) -> None:
        """Add confusion matrices of images, (n, K, K), true by predicted; one without a known pixel is left out."""
        cells = cells[cells.sum((1, 2)) > 0].double()
        cells = cells / cells.sum((1, 2), keepdim=True)
        hits = cells.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)
        rows = torch.cat([torch.ones_like(hits), hits, cells.sum(1)], 1)
        self.products.update(rows.T @ rows)
        self.fractions.update(cells.sum((0, 2)))

    def merge(self, other: Agreement) -> None:
        self.products.merge(other.products)
        self.fractions.merge(other.fractions)

    def cpu(self) -> Agreement:
        copy = Agreement()
        copy.products, copy.fractions = self.products.cpu(), self.fractions.cpu()
        return copy

    def is_chance(self) -> bool:
        """Return whether the masks fit their images no better than others; False if nobody can tell.

        That is so with fewer than two images, or where all pixels are of one class.
        """
        products, fractions = self.products.total(), self.fractions.total()
        images = float(products[0, 0]) if products.ndim else 0
        if images < 2 or int((fractions > 0).sum()) < 2:
            return False
        weights = torch.cat([torch.tensor([0.0, 1.0]).double(), -fractions / images])
        mean = float(products[0] @ weights) / images
        variance = max(0.0, float(weights @ products @ weights) / images - mean**2) / (images - 1)
        return mean <= _LIMIT * sqrt(variance) + _ROUNDING
