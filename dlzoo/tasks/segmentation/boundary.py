"""The boundary F1 score of masks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from dlzoo.data.mask_set import IGNORED

#: The distance up to which a boundary counts as found, as a fraction of the image's diagonal.
_TOLERANCE = 0.0075

Mask = NDArray[np.uint8]


def boundary_scores(pairs: Iterable[tuple[Mask, Mask]], num_classes: int) -> Tensor:
    """Return the sum of the boundary F1 scores of each class over images, and the number of images: (2, K) float64.

    The F1 score of a class in an image is the harmonic mean of the fraction of its predicted boundary that is within
    the tolerance of the true one (precision), and of the true one that is within the tolerance of the predicted one
    (recall): Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013, section 3. The
    tolerance is 0.75 % of the image's diagonal and at least a pixel. Images with the class in neither mask do not
    count. An ignored pixel takes the class of the nearest one that is not, so that a boundary drawn as a band of
    ignored pixels, as in PASCAL VOC, runs in its middle.

    Args:
        pairs: of each image the predicted mask (H, W), classes from 0, and the true one, 255 where ignored.
        num_classes: K.
    """
    sums = torch.zeros(2, num_classes, dtype=torch.float64)
    for guess, truth in pairs:
        if (truth == IGNORED).all():
            continue
        tolerance = max(1.0, _TOLERANCE * math.hypot(*truth.shape))
        filled = _fill_ignored(truth)
        for number in np.union1d(guess, filled).tolist():
            score = _f1(_boundary(guess == number), _boundary(filled == number), tolerance)
            if score is not None:
                sums[:, number] += torch.tensor([score, 1.0], dtype=torch.float64)
    return sums


def _fill_ignored(mask: Mask) -> Mask:
    ignored = mask == IGNORED
    if not ignored.any():
        return mask
    places: Any = distance_transform_edt(ignored, return_distances=False, return_indices=True)
    return mask[places[0], places[1]]


def _boundary(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a region that have a neighbour (of four) outside it; the image's border is no boundary."""
    edge = np.zeros_like(inside)
    down, across = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
    for part, differs in ((np.s_[1:], down), (np.s_[:-1], down), (np.s_[:, 1:], across), (np.s_[:, :-1], across)):
        edge[part] |= differs
    return edge & inside


def _f1(guess: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: float) -> float | None:
    """Return the F1 score of two boundaries; None if there is none, as for a class that fills the image in both."""
    if not guess.any() or not truth.any():
        return None if guess.any() == truth.any() else 0.0
    distances: list[Any] = [distance_transform_edt(~edge) for edge in (truth, guess)]
    precision = float((distances[0][guess] <= tolerance).mean())
    recall = float((distances[1][truth] <= tolerance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
