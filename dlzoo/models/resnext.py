"""ResNeXt: ResNet whose bottleneck is a sum of many equal branches, in its three equivalent forms (figure 3)."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Size
from dlzoo.layers.conv import ConvNormAct, needs_bias
from dlzoo.layers.parts import Parts
from dlzoo.models.feature_maps import Stage
from dlzoo.models.residual import Bottleneck, Downsample, ShortcutKind, make_shortcut
from dlzoo.models.resnet import RESIDUAL, ResNet
from dlzoo.models.stem import Stem, make_stem, stem_outputs, stem_stride

Form = Literal["grouped", "concatenated", "split"]


class Branches(nn.Module):
    """Figure 3b: `groups` branches, each a 1x1 and a 3x3 convolution `inner` / groups wide, side by side."""

    def __init__(self, in_channels: int, inner: int, stride: int, groups: int, parts: Parts) -> None:
        super().__init__()
        width = inner // groups
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(in_channels, width, 1, parts),
                ConvNormAct(width, width, 3, parts, stride=stride, fixed=True, drop=True),
            )
            for _ in range(groups)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class SplitBranches(nn.Module):
    """Figure 3a: each branch ends with a 1x1 convolution of its own to all channels; they are added up, then normed."""

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int, groups: int, parts: Parts) -> None:
        super().__init__()
        self.branches = Branches(in_channels, inner, stride, groups, parts).branches
        self.expand = nn.ModuleList(nn.Conv2d(inner // groups, out_channels, 1, bias=False) for _ in range(groups))
        self.norm = parts.norm(out_channels)
        # One bias for the sum, if the norm leaves room for it.
        self.bias = nn.Parameter(torch.zeros(out_channels)) if needs_bias(self.norm) else None

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.branches, self.expand, strict=True)
        total = torch.stack([expand(branch(x)) for branch, expand in pairs]).sum(0)
        return self.norm(total if self.bias is None else total + self.bias[:, None, None])

    zero_norm_ = ConvNormAct.zero_norm_


class Unfolded(nn.Module):
    """ResNeXt's block in the form of figure 3a (`split`) or 3b: (N, in, H, W) -> (N, 4 * width, H/stride, W/stride)."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        parts: Parts,
        *,
        inner: int,
        groups: int,
        split: bool,
        shortcut: ShortcutKind,
        depth: float,
        downsample: Downsample,
    ) -> None:
        super().__init__()
        if downsample == "pool":
            raise UserError("model.downsample=pool is for model.form=grouped")
        self.out_channels = out_channels = 4 * width
        if split:
            self.branch: SplitBranches | nn.Sequential = SplitBranches(
                in_channels, inner, out_channels, stride, groups, parts
            )
        else:
            self.branch = nn.Sequential(
                Branches(in_channels, inner, stride, groups, parts),
                ConvNormAct(inner, out_channels, 1, parts, act=False),
            )
        self.attention = parts.attention(out_channels)
        self.branch_drop = parts.branch_drop(depth)
        self.shortcut = make_shortcut(shortcut, in_channels, out_channels, stride, parts)
        self.act = parts.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.branch_drop(self.attention(self.branch(x))) + self.shortcut(x))

    def zero_residual_(self) -> None:
        last: Any = self.branch if isinstance(self.branch, SplitBranches) else self.branch[-1]
        last.zero_norm_()


def residual_block(
    in_channels: int,
    width: int,
    stride: int,
    parts: Parts,
    *,
    groups: int,
    width_per_group: int,
    form: Form,
    shortcut: ShortcutKind,
    depth: float,
    downsample: Downsample,
) -> nn.Module:
    """Return a block in one of the forms; a group of a block 64 wide has `width_per_group` channels (table 1)."""
    inner = width * width_per_group // 64 * groups
    if inner == 0:
        raise UserError(f"model.width={width} leaves a group no channel; choose at least {-(-64 // width_per_group)}")
    settings = {"inner": inner, "groups": groups, "shortcut": shortcut, "depth": depth, "downsample": downsample}
    if form == "grouped":
        return Bottleneck(in_channels, width, stride, parts, **settings)
    return Unfolded(in_channels, width, stride, parts, **settings, split=form == "split")


def imagenet_resnext(
    groups: int,
    width_per_group: int,
    depths: tuple[int, ...],
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    stem: Stem = "auto",
    form: Form = "grouped",
    shortcut: ShortcutKind = "B",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: Size = 64,
) -> nn.Module:
    """ResNeXt for photographs: a 7x7 stem and four stages; small images get a small stem.

    `form` is how a block is written: grouped convolution, branches whose outputs are put side by side, or branches
    that are added up. With a norm that treats each channel for itself (bn, in) they compute the same.
    """
    return ResNet(
        partial(residual_block, groups=groups, width_per_group=width_per_group, form=form),
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


def cifar_resnext(
    groups: int,
    width_per_group: int,
    /,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    parts: Parts,
    form: Form = "grouped",
    shortcut: ShortcutKind = "B",
    downsample: Downsample = "conv",
    cross_layer: bool = False,
    width: Size = 64,
) -> nn.Module:
    """ResNeXt-29 for 32 px images (section 5.3): three stages of three bottlenecks, 256, 512 and 1024 channels.

    `form`: see ResNeXt for photographs; all three compute the same with bn.
    """
    return ResNet(
        partial(residual_block, groups=groups, width_per_group=width_per_group, form=form),
        (3, 3, 3),
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


def _register() -> None:
    """Register table 1 and section 5.3, one line each."""
    # The convolution that could be of another kind is the grouped one: that is what ResNeXt is.
    parts = {kind: part for kind, part in RESIDUAL.items() if kind != "conv"}
    for name, groups, width_per_group, depths in [
        ("resnext50_32x4d", 32, 4, (3, 4, 6, 3)),
        ("resnext101_32x8d", 32, 8, (3, 4, 23, 3)),
    ]:
        MODELS.register(name, source="arXiv:1611.05431, table 1", torchvision={"bn": name}, **parts)(
            partial(imagenet_resnext, groups, width_per_group, depths)
        )
    for groups in (8, 16):
        MODELS.register(f"resnext29_{groups}x64d", source="arXiv:1611.05431, section 5.3", **parts)(
            partial(cifar_resnext, groups, 64)
        )


_register()
