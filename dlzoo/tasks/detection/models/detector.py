"""The contract of detectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from dlzoo.boxes.objects import MatchedTargets
from dlzoo.models.backbone import OnBackbone

#: The parts of neck and head, and their defaults, that detectors have in common.
PARTS: dict[str, Any] = {
    "tasks": ("detect",),
    **{"norm": "bn", "act": "relu", "init": "he", "pool": "max", "conv": "standard"},
    **{"attention": "none", "drop": "none", "upsample": "nearest"},
}


class Detector(OnBackbone, ABC):
    """Images (N, C, H, W) -> outputs of the heads, in a form of its own; from these, matched targets or boxes.

    A detector assigns targets but computes no loss: losses take `match_targets`, and suppression takes `candidates`.
    H and W may differ from those it was built for (multi-scale training).
    """

    @abstractmethod
    def forward(self, images: Tensor) -> Any:
        """Return the outputs of the heads, a tuple of tensors that `match_targets` and `candidates` take."""

    @abstractmethod
    def match_targets(self, raw: Any, labels: Tensor) -> list[MatchedTargets]:
        """Match the outputs of each stage with the objects `labels` (N, M, 6), without difficult ones."""

    @abstractmethod
    def count_matches(self, raw: Any, labels: Tensor) -> Tensor:
        """Return `matched` of each stage for `labels` (N, M, 6) of other images of the size of those of `raw`.

        (stages,) float; nan for a stage whose number depends on the outputs for the images themselves.
        """

    @abstractmethod
    def candidates(self, raw: Any) -> tuple[Tensor, Tensor]:
        """Return boxes (N, A, 4) in pixels, or (N, A, K, 4) for each class, and scores (N, A, K) from 0 to 1."""
