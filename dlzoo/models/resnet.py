"""ResNet and its plain counterpart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.drop import depths_of
from dlzoo.layers.non_local import CrossLayerNonLocal
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Classifier, Stage, last_at_each_stride
from dlzoo.models.residual import BasicBlock, Bottleneck, Downsample, ShortcutKind
from dlzoo.models.stem import Stem, make_stem, stem_outputs, stem_stride

#: (in_channels, width, stride, parts, *, shortcut, depth, downsample) -> a block that knows its `out_channels`.
Block = Callable[..., Any]


class ResNet(Classifier):
    """Stem, as wide as the first of the stages of residual blocks (the width doubles, the size halves), pooling, head.

    With `cross_layer` the last stage but one looks at the last (layers.non_local.CrossLayerNonLocal), and its means are
    features too; before the attention has learnt anything, that is the mean of the shallower stage beside the deeper
    one's. `size`: pixels a side of the last feature map.
    """

    trunk = ("stem", "stages")

    def __init__(
        self,
        block: Block,
        depths: tuple[int, ...],
        *,
        stem: nn.Module,
        stem_outputs: list[Stage],
        width: int,
        size: int,
        num_classes: int,
        parts: Parts,
        shortcut: ShortcutKind,
        downsample: Downsample,
        cross_layer: bool,
    ) -> None:
        super().__init__()
        self.stem = stem
        _, first_stride, channels = stem_outputs[-1]
        stages, outputs = [], list(stem_outputs)
        for stage, of_stage in enumerate(depths_of(depths)):
            blocks = []
            for index, depth in enumerate(of_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                settings: dict[str, Any] = {"shortcut": shortcut, "depth": depth, "downsample": downsample}
                blocks.append(block(channels, width << stage, stride, parts, **settings))
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
            outputs.append(Stage(f"stages.{stage}", first_stride << stage, channels))
        self.stages = nn.Sequential(*stages)
        shallow = outputs[-2]
        self.cross_layer = CrossLayerNonLocal(shallow.channels, channels) if cross_layer else None
        if cross_layer:
            outputs.append(shallow._replace(name="cross_layer"))
        self.feature_stages = last_at_each_stride(outputs)
        self.pool = parts.head(channels, size)
        self.head = nn.Linear(self.pool.out_features + (shallow.channels if cross_layer else 0), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        shallow = x = self.stem(x)
        for stage in self.stages:
            shallow, x = x, stage(x)
        features = self.pool(x)
        if self.cross_layer is not None:
            features = torch.cat([features, self.cross_layer(shallow, x).mean((2, 3))], dim=1)
        return self.head(features)

    def outputs(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield (path, output); that of cross-layer attention comes last and replaces that of the stage before."""
        shallow = x = images
        for name, x in super().outputs(images):
            shallow = x if name == f"stages.{len(self.stages) - 2}" else shallow
            yield name, x
        if self.cross_layer is not None:
            yield "cross_layer", self.cross_layer(shallow, x)


def imagenet_resnet(
    block: Block,
    depths: tuple[int, ...],
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    stem: Stem = "auto",
    shortcut: ShortcutKind = "B",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: Size = 64,
) -> nn.Module:
    """ResNet for photographs: a 7x7 stem and four stages, the first `width` wide; small images get a small stem.

    shortcut=none gives the plain net; downsample=pool halves maps by pooling, not by strides; cross_layer lets the
    third stage look at the fourth (cross-layer non-local).
    """
    return ResNet(
        block,
        depths,
        stem=make_stem(stem, in_channels, width, image_size, parts),
        stem_outputs=stem_outputs(stem, image_size, width),
        width=width,
        size=ceil(image_size / (8 * stem_stride(stem, image_size))),
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
        downsample=downsample,
        cross_layer=cross_layer,
    )


def cifar_resnet(
    block: Block,
    depth: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    shortcut: ShortcutKind = "A",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: Size = 16,
) -> nn.Module:
    """ResNet for 32 px images (section 4.2): three stages of basic blocks, `depth` a stage, the first `width` wide.

    shortcut=none gives the plain net; downsample=pool halves maps by pooling, not by strides; cross_layer lets the
    second stage look at the third (cross-layer non-local).
    """
    return ResNet(
        block,
        (depth,) * 3,
        stem=make_stem("small", in_channels, width, 32, parts),
        stem_outputs=[Stage("stem", 1, width)],
        width=width,
        size=ceil(image_size / 4),
        num_classes=num_classes,
        parts=parts,
        shortcut=shortcut,
        downsample=downsample,
        cross_layer=cross_layer,
    )


#: What a residual network asks its parts for, and what it gets if nothing is said.
RESIDUAL = {
    **{"norm": "bn", "act": "relu", "init": "he", "pool": "max", "conv": "standard"},
    **{"attention": "none", "drop": "none", "head": "gap"},
}


def _register() -> None:
    """Register table 1 and section 4.2, one line each."""
    for name, block, depths in [
        ("resnet18", BasicBlock, (2, 2, 2, 2)),
        ("resnet34", BasicBlock, (3, 4, 6, 3)),
        ("resnet50", Bottleneck, (3, 4, 6, 3)),
        ("resnet101", Bottleneck, (3, 4, 23, 3)),
        ("resnet152", Bottleneck, (3, 8, 36, 3)),
    ]:
        MODELS.register(name, source="arXiv:1512.03385, table 1", torchvision={"bn": name}, **RESIDUAL)(
            partial(imagenet_resnet, block, depths)
        )
    for layers in (20, 32, 44, 56, 110):
        MODELS.register(f"resnet{layers}", source="arXiv:1512.03385, section 4.2", **RESIDUAL)(
            partial(cifar_resnet, BasicBlock, (layers - 2) // 6)
        )


_register()
