"""The labels of a batch; those of objects are cut to its fullest image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dlzoo.boxes.objects import count_rows

#: Labels of up to this many rows, as of VOC and COCO, are not cut: they cost little, and a loss over another number of
#: rows is rounded otherwise.
_USUAL = 100


class BatchLabels:
    """Labels (N, ...) of a split on a device, from which those of batches are taken.

    Labels of objects (N, M, 6) are padded to the fullest image of the split, and every row costs time in each step: one
    image of a thousand objects would slow all batches down. Instead, a batch has as many rows as its own fullest image;
    the host knows their number without waiting for the device.
    """

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels
        self._rows = count_rows(labels) if labels.dim() == 3 and labels.shape[1] > _USUAL else None

    def to(self, device: torch.device) -> None:
        """Keep the labels on `device` from now on."""
        self._labels = self._labels.to(device)

    def take(self, samples: Tensor, on_host: Callable[[], Tensor]) -> Tensor:
        """Return the labels of `samples` (n,), which are on the device; `on_host` returns the same on the host."""
        if self._rows is None:
            return self._labels[samples]
        return self._labels[:, : max(1, int(self._rows[on_host()].max()))][samples]
