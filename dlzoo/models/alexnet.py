"""AlexNet: of one column, as torchvision has it, and of two, as in 2012."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage
from dlzoo.models.stem import Stem, is_small


class Version(NamedTuple):
    """What differs between the papers.

    Attributes:
        widths: channels of the five convolutions.
        groups: of the second, fourth and fifth; 2 are the columns of 2012 (figure 2).
        padding: of the first.
        all_norms: whether the last three convolutions have a norm as well.
    """

    widths: tuple[int, int, int, int, int]
    groups: int
    padding: int
    all_norms: bool


ONE_COLUMN = Version((64, 192, 384, 256, 256), groups=1, padding=2, all_norms=True)
TWO_COLUMNS = Version((96, 256, 384, 384, 256), groups=2, padding=2, all_norms=False)


class AlexNet(Classifier):
    """Five convolutions, the first, second and fifth with a 3x3 pooling behind, then fully connected layers.

    Small images get a first convolution of 5x5 with stride 1.
    """

    trunk = ("layers",)

    def __init__(
        self,
        version: Version,
        /,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
    ) -> None:
        super().__init__()
        (one, two, three, four, five), groups, padding, norm = version
        small = is_small(stem, image_size)
        kernel, stride, padding = (5, 1, 2) if small else (11, 4, padding)
        size = (image_size + 2 * padding - kernel) // stride + 1
        for _ in range(3):
            size = (size - 3) // 2 + 1
        if size < 1:
            least = 15 if small else 63
            raise UserError(f"images of {image_size} px vanish in the poolings: choose data of at least {least} px")
        self.layers = nn.Sequential(
            ConvNormAct(in_channels, one, kernel, parts, stride=stride, padding=padding, drop=True),
            parts.pool(one, 3),
            ConvNormAct(one, two, 5, parts, groups=groups, drop=True),
            parts.pool(two, 3),
            ConvNormAct(two, three, 3, parts, norm=norm, drop=True),
            ConvNormAct(three, four, 3, parts, groups=groups, norm=norm, drop=True),
            ConvNormAct(four, five, 3, parts, groups=groups, norm=norm, drop=True),
            parts.pool(five, 3),
        )
        self.feature_stages = [
            Stage("layers.0", stride, one),
            Stage("layers.2", 2 * stride, two),
            Stage("layers.6", 4 * stride, five),
            Stage("layers.7", 8 * stride, five),
        ]
        self.pool = parts.head(five, size)
        self.head = nn.Linear(self.pool.out_features, num_classes)


def _register() -> None:
    """Register the two versions, one line each."""
    parts = {"act": "relu", "init": "he", "conv": "standard", "pool": "max", "drop": "none"}
    MODELS.register(
        "alexnet",
        source="arXiv:1404.5997, as in torchvision",
        torchvision={"none": "alexnet"},
        norm="none",
        head={"name": "fc", "drop_inputs": True},
        **parts,
    )(partial(AlexNet, ONE_COLUMN))
    MODELS.register("alexnet_2012", source="Krizhevsky et al. 2012, section 3.5", norm="lrn", head="fc", **parts)(
        partial(AlexNet, TWO_COLUMNS)
    )


_register()
