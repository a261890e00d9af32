"""VGG."""

from __future__ import annotations

from functools import partial

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage


class VGG(Classifier):
    """Five stages of 3x3 convolutions, each with a 2x2 pooling at its end, then fully connected layers.

    `depths`: convolutions of each stage (table 1); the first stage is `width` wide, each next one twice as wide up to
    8 * width. Convolutions keep their bias beside a norm, as in torchvision.
    """

    trunk = ("layers",)
    pools_stages = True

    def __init__(
        self,
        depths: tuple[int, ...],
        /,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        width: Size = 64,
    ) -> None:
        super().__init__()
        if image_size < 32:
            raise UserError(f"images of {image_size} px vanish in five poolings: choose data of at least 32 px")
        layers: list[nn.Module] = []
        channels, self.feature_stages = in_channels, []
        for stage, depth in enumerate(depths):
            for _ in range(depth):
                before, channels = channels, width * min(2**stage, 8)
                layers += [
                    ConvNormAct(before, channels, 3, parts, bias=True, drop=True),
                    parts.attention(channels),
                ]
            # Of each stage the feature map before its pooling.
            self.feature_stages.append(Stage(f"layers.{len(layers) - 1}", 1 << stage, channels))
            layers.append(parts.pool(channels))
        self.feature_stages.append(Stage(f"layers.{len(layers) - 1}", 1 << len(depths), channels))
        self.layers = nn.Sequential(*layers)
        self.pool = parts.head(channels, min(image_size // 32, 7))
        self.head = nn.Linear(self.pool.out_features, num_classes)


def _register() -> None:
    """Table 1, columns A, B, D and E."""
    parts = {"norm": "none", "act": "relu", "init": "he", "conv": "standard", "attention": "none"}
    parts |= {"pool": "max", "drop": "none", "head": "fc"}
    for layers, depths in [(11, (1, 1, 2, 2, 2)), (13, (2, 2, 2, 2, 2)), (16, (2, 2, 3, 3, 3)), (19, (2, 2, 4, 4, 4))]:
        name = f"vgg{layers}"
        MODELS.register(
            name, source="arXiv:1409.1556, table 1", torchvision={"none": name, "bn": f"{name}_bn"}, **parts
        )(partial(VGG, depths))


_register()
