"""The base class of segmentation networks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.protocols import TakesBorder
from dlzoo.layers.head import WithAuxiliary
from dlzoo.models.backbone import OnBackbone

#: Sides that `sizes` lists, 4 * stride pixels apart.
_SIZES = 8


class Segmenter(nn.Module):
    """Images (N, in_channels, H, W) -> the logits of each pixel (N, num_classes, H, W).

    Images whose sides `stride` does not divide are padded at the right and below with zeros, the mean colour, and the
    logits cropped. A network of valid convolutions has a `margin`: its logits lack so many pixels on each side.

    Attributes:
        stride: the pixels of the image to one pixel of the coarsest feature map.
        margin: the pixels that the logits lack on each side.
    """

    stride: int
    margin: int = 0

    def forward(self, images: Tensor) -> Tensor | WithAuxiliary:
        height, width = images.shape[2:]
        missing = [self.padded(side) - side for side in (width, height)]
        if any(missing):
            images = F.pad(images, (0, missing[0], 0, missing[1]))
        logits, auxiliary, weight = self.logits(images)
        rows, columns = (max(0, side - 2 * self.margin) for side in (height, width))
        logits, *auxiliary = (each[:, :, :rows, :columns] for each in (logits, *auxiliary))
        return WithAuxiliary(logits, tuple(auxiliary), weight) if auxiliary else logits

    def padded(self, side: int) -> int:
        """Return the smallest side that is at least `side` and that the network takes."""
        return -(-side // self.stride) * self.stride

    def sizes(self) -> list[tuple[int, int]]:
        """Return sides in pixels of images and of their logits, as core.protocols.ShrinksImages; [] for equal sides."""
        if not self.margin:
            return []
        smallest = self.padded(2 * self.margin + 1)
        sides = [self.padded(smallest + 4 * step * self.stride) for step in range(_SIZES)]
        return [(side, side - 2 * self.margin) for side in sides]

    @abstractmethod
    def logits(self, images: Tensor) -> tuple[Tensor, Sequence[Tensor], float]:
        """Return the logits of images whose sides are `padded`, those of auxiliary heads, and the weight of these.

        Auxiliary heads have logits in training only.
        """


class BackboneSegmenter(OnBackbone, Segmenter):
    """A segmentation network on the feature maps of a classifier."""


def segment(network: nn.Module, images: Tensor) -> Tensor | WithAuxiliary:
    """Return the logits (N, K, H, W) of every pixel: images of a network with a margin are mirrored at their borders.

    This is the input of arXiv:1505.04597, figure 2.
    """
    margin = network.margin if isinstance(network, TakesBorder) else 0
    return network(mirror(images, margin) if margin else images)


def mirror(images: Tensor, margin: int) -> Tensor:
    """Extend images (N, C, H, W) by `margin` pixels on each side, mirrored at the border as often as necessary."""
    for axis in (2, 3):
        last = images.shape[axis] - 1
        places = torch.arange(-margin, last + 1 + margin, device=images.device)
        folded = last - (places.abs() % max(1, 2 * last) - last).abs()
        images = images.index_select(axis, folded.clamp(0, last))
    return images
