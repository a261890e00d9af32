"""The contract of detectors: what a task asks of every one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from dlzoo.boxes.objects import MatchedTargets
from dlzoo.models.backbone import Backbone

#: What a detector asks its parts for in neck and head, and what it gets if nothing is said.
PARTS: dict[str, Any] = {
    "tasks": ("detect",),
    **{"norm": "bn", "act": "relu", "init": "he", "pool": "max", "conv": "standard"},
    **{"attention": "none", "drop": "none", "upsample": "nearest"},
}


class Detector(nn.Module, ABC):
    """Images (N, C, H, W) -> what the heads say, in a form of its own; then what is learnt of it, or its boxes.

    A detector assigns, and judges nothing: losses look at `matches`, and suppression at `candidates`. H and W may be
    others than those it was built for (multi-scale training).
    """

    #: What gives it maps; `freeze=backbone` freezes this.
    backbone: Backbone

    @abstractmethod
    def forward(self, images: Tensor) -> Any:
        """What the heads say: a tuple of tensors that `matches` and `candidates` understand."""

    @abstractmethod
    def matches(self, raw: Any, labels: Tensor) -> list[MatchedTargets]:
        """What each stage should have said of images with the objects `labels` (N, M, 6), difficult ones left out."""

    @abstractmethod
    def candidates(self, raw: Any) -> tuple[Tensor, Tensor]:
        """Boxes (N, A, 4) in pixels, or (N, A, K, 4) a box a class, and scores (N, A, K) from 0 to 1."""
