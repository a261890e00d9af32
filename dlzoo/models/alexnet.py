"""AlexNet: of one column, as torchvision has it, and of two, as in 2012."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from dlzoo.errors import UserError
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.stem import Stem, is_small
from dlzoo.registry import MODELS


class AlexNet(nn.Module):
    """Five convolutions, the first, second and fifth with a 3x3 pooling behind, then fully connected layers.

    `widths`: channels of the convolutions. `groups`: of the second, fourth and fifth; 2 are the columns of the paper
    (figure 2). `padding`: of the first. `norms`: how many of the convolutions have one.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        groups: int,
        padding: int,
        norms: int,
        /,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        stem: Stem = "auto",
    ) -> None:
        super().__init__()
        one, two, three, four, five = widths
        small = is_small(stem, image_size)
        kernel, stride, padding = (5, 1, 2) if small else (11, 4, padding)
        size = (image_size + 2 * padding - kernel) // stride + 1
        for _ in range(3):
            size = (size - 3) // 2 + 1
        if size < 1:
            raise UserError(
                f"images of {image_size} px vanish in the poolings: choose at least {15 if small else 63} px"
            )
        self.layers = nn.Sequential(
            ConvNormAct(in_channels, one, kernel, parts, stride=stride, padding=padding, drop=True),
            parts.pool(one, 3),
            ConvNormAct(one, two, 5, parts, groups=groups, drop=True),
            parts.pool(two, 3),
            ConvNormAct(two, three, 3, parts, norm=norms > 2, drop=True),
            ConvNormAct(three, four, 3, parts, groups=groups, norm=norms > 2, drop=True),
            ConvNormAct(four, five, 3, parts, groups=groups, norm=norms > 2, drop=True),
            parts.pool(five, 3),
        )
        self.pool = parts.head(five, size)
        self.head = nn.Linear(self.pool.out_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.layers(x)))


def _register() -> None:
    """Two versions of table and figure, a line an entry."""
    parts = {"act": "relu", "init": "he", "conv": "standard", "pool": "max", "drop": "none"}
    one_column = {"norm": "none", "head": {"name": "fc", "drop_inputs": True}}
    MODELS.register(
        "alexnet", source="arXiv:1404.5997, as in torchvision", torchvision={"none": "alexnet"}, **parts, **one_column
    )(partial(AlexNet, (64, 192, 384, 256, 256), 1, 2, 5))
    two_columns = {"norm": "lrn", "head": "fc"}
    MODELS.register("alexnet_2012", source="Krizhevsky et al. 2012, section 3.5", **parts, **two_columns)(
        partial(AlexNet, (96, 256, 384, 384, 256), 2, 2, 2)
    )


_register()
