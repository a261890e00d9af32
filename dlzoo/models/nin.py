"""Network in Network."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage


def conv_layer(in_channels: int, widths: tuple[int, ...], kernel_size: int, parts: Parts) -> nn.Sequential:
    """Return a convolution and the 1x1 convolutions after it: a perceptron that slides over the maps (equation 2)."""
    layers = [ConvNormAct(in_channels, widths[0], kernel_size, parts)]
    layers += [ConvNormAct(before, after, 1, parts) for before, after in pairwise(widths)]
    return nn.Sequential(*layers)


@MODELS.register(
    "nin",
    source="arXiv:1312.4400, section 4, with the widths of the authors' CIFAR-10 network",
    **{"norm": "none", "act": "relu", "init": "he", "conv": "standard", "pool": "max", "head": "gap"},
    drop={"name": "dropout", "rate": 0.5},
)
class NIN(Classifier):
    """Three mlpconv layers, pooling and dropout between them, and global average pooling.

    The paper ends with a map a class, whose mean is the logit; averaging first and then weighing, as here, is the same
    without the ReLU on those maps. `mlpconv` false leaves the 1x1 convolutions out. The third layer is `width` wide,
    the others in proportion.
    """

    trunk = ("layers",)

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        mlpconv: bool = True,
        width: Size = 192,
    ) -> None:
        super().__init__()
        if parts.drop_before_norm:
            raise UserError("drop.place=before_norm has no meaning here: the noise stands behind the poolings")
        narrow, narrower = max(width * 5 // 6, 1), max(width // 2, 1)
        widths = [(width, narrow, narrower), (width, width, width), (width, width)]
        if not mlpconv:
            widths = [of_layer[:1] for of_layer in widths]
        first, second, third = widths
        self.layers = nn.Sequential(
            conv_layer(in_channels, first, 5, parts),
            parts.pool(first[-1], 3, ceil_mode=True),
            parts.drop(),
            conv_layer(first[-1], second, 5, parts),
            parts.pool(second[-1], 3, ceil_mode=True),
            parts.drop(),
            conv_layer(second[-1], third, 3, parts),
        )
        self.feature_stages = [
            Stage("layers.0", 1, first[-1]),
            Stage("layers.3", 2, second[-1]),
            Stage("layers.6", 4, third[-1]),
        ]
        self.pool = parts.head(third[-1], max(image_size // 4, 1))
        self.head = nn.Linear(self.pool.out_features, num_classes)
