"""Logits of whole images in evaluation: in windows where images are large, with or without the mirror image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from dlzoo.layers.head import WithAuxiliary
from dlzoo.tasks.segmentation.models.segmenter import Segmenter, segment
from dlzoo.tasks.segmentation.windows import segment_windows


@dataclass(frozen=True)
class Inference:
    """How the logits of an image are computed.

    Args:
        window: the side in pixels of the windows of an image that is larger; None for whole images.
        overlap: of neighbouring windows, as a fraction of their side.
        flip: whether the logits of the mirror image are averaged with those of the image.
    """

    window: int | None = None
    overlap: float = 0.5
    flip: bool = False

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the logits (N, K, H, W) float32 of images (N, C, H, W), for a network in evaluation mode."""
        if not self.flip:
            return self._of_view(network, images)
        mirrored = self._of_view(network, images.flip(3)).flip(3)
        return (self._of_view(network, images) + mirrored) / 2

    def _of_view(self, network: nn.Module, images: Tensor) -> Tensor:
        compute = partial(_compute, network)
        if self.window is None:
            return compute(images)
        stride = network.stride if isinstance(network, Segmenter) else 1
        return segment_windows(compute, images, self.window, round(self.overlap * self.window), stride)


def _compute(network: nn.Module, images: Tensor) -> Tensor:
    output = segment(network, images)
    return (output.logits if isinstance(output, WithAuxiliary) else output).float()
