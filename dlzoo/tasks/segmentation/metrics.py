"""Segmentation metrics, accumulated over the batches of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlzoo.data.mask_set import IGNORED
from dlzoo.metrics.accumulators import Sum, Table
from dlzoo.metrics.evaluation import Evaluation, add_loss, loss_of_split, standard_error_of_share
from dlzoo.tasks.segmentation.boundary import boundary_scores
from dlzoo.tasks.segmentation.chance import Agreement

#: Images of the split whose predicted masks are kept for pictures.
SHOWN = 6


class SegmentationEvaluation(Evaluation):
    """Loss, miou, dice, pixel_accuracy and boundary_f1 of logits (n, K, H, W) and masks (n, H, W).

    All but the loss are fractions from 0 to 1. A class that is neither in a mask nor predicted is left out of means.

    Args:
        loss_fn: (logits, masks) -> the batch's loss.
        num_classes: K.
        details: whether to keep the intersections and unions of each image, and some predicted masks.
    """

    def __init__(self, loss_fn: nn.Module, num_classes: int, *, details: bool = False) -> None:
        super().__init__()
        self.loss_fn, self.classes, self.details = loss_fn, num_classes, details
        self.losses, self.confusion, self.boundaries = Sum(), Sum(), Sum()
        self.agreement = Agreement()
        self.table, self.shown = Table(), Table(SHOWN)

    def update(self, logits: Tensor, masks: Tensor, sizes: Sequence[tuple[int, int]], indices: range) -> None:
        """Add a batch.

        Args:
            logits: (n, K, H, W).
            masks: (n, H, W) uint8, 255 where ignored.
            sizes: width and height of each image, which is at the top left.
            indices: the samples of the split.
        """
        add_loss(self.losses, self.loss_fn, logits, masks)
        predicted = logits.argmax(1)
        cells = confusion_of_images(predicted, masks, self.classes)
        self.confusion.update(cells.sum(0))
        self.agreement.update(cells)
        predicted = predicted.to(torch.uint8)
        arrays = zip(predicted.cpu().numpy(), masks.cpu().numpy(), sizes, strict=True)
        pairs = ((guess[:high, :wide], mask[:high, :wide]) for guess, mask, (wide, high) in arrays)
        self.boundaries.update(boundary_scores(pairs, self.classes))
        if self.details:
            hits = cells.diagonal(dim1=1, dim2=2)
            self.table.update(indices, intersection=hits, union=cells.sum(1) + cells.sum(2) - hits)
            self.shown.update(indices, mask=predicted)

    def compute(self) -> dict[str, float]:
        confusion = self.confusion.total()
        iou, dice = map(_mean, _scores(confusion))
        cells = confusion.double()
        scores, images = self.boundaries.total()
        known = float(cells.sum())
        return {
            "loss": loss_of_split(self.losses, self.loss_fn, self.count),
            "miou": iou,
            "dice": dice,
            "pixel_accuracy": float(cells.diagonal().sum()) / known if known else 0.0,
            "boundary_f1": _mean(scores / images),
        }

    def learned_nothing(self) -> str | None:
        if not self.agreement.is_chance():
            return None
        if int(self.confusion.total().sum(0).count_nonzero()) == 1:
            return f"it predicts one class for all pixels of {self.count:,} test images"
        return f"its masks fit the {self.count:,} test images no better than they would fit others"

    def standard_error(self, metric: str, value: float, samples: int) -> float | None:
        """Return that of a mean of values between 0 and 1 over the images; None for the loss."""
        return None if metric == "loss" else standard_error_of_share(value, samples)

    def by_class(self) -> dict[str, list[float | None]]:
        """Return IoU, Dice and boundary F1 of each class; None for one that is neither in a mask nor predicted."""
        iou, dice = _scores(self.confusion.total())
        scores, images = self.boundaries.total()
        named = {"iou": iou, "dice": dice, "boundary_f1": scores / images}
        return {
            name: [value if value == value else None for value in values.tolist()] for name, values in named.items()
        }

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return the intersection and the union of prediction and mask in pixels, (N, K) each, by image."""
        return self.table.arrays()


def confusion_of_images(predicted: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    """Return how many pixels of each class (row) are predicted as each class (column), by image: (n, K, K) int64.

    Args:
        predicted: (n, H, W), classes from 0.
        masks: (n, H, W), 255 where ignored.
        num_classes: K.
    """
    count, known = len(masks), masks != IGNORED
    image = torch.arange(count, device=masks.device)[:, None, None]
    cells = (image * num_classes + masks) * num_classes + predicted
    flat = cells.where(known, count * num_classes**2).flatten()
    return flat.bincount(minlength=count * num_classes**2 + 1)[:-1].view(count, num_classes, num_classes)


def _scores(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and Dice (K,) of each class from a confusion matrix (K, K); NaN where a class is nowhere."""
    hits, cells = confusion.diagonal().double(), confusion.double()
    both = cells.sum(0) + cells.sum(1)
    return hits / (both - hits), 2 * hits / both


def _mean(values: Tensor) -> float:
    """Return the mean of the values that are not NaN; 0 if there is none."""
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else 0.0
