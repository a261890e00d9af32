"""Describe layers in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from dlzoo.core.protocols import follows_activation
from dlzoo.core.registries import ACTS, ATTENTIONS, DROPS, NORMS, UPSAMPLES
from dlzoo.layers.conv import Block, NormAct
from dlzoo.layers.convs import LocallyConnected

#: Classes of layers -> the names of their registry entries.
_NAMES = {
    registry[name].builder: name
    for registry in (NORMS, ATTENTIONS, DROPS, UPSAMPLES)
    for name in registry.names()
    if isinstance(registry[name].builder, type)
}
_ACT_NAMES = {type(ACTS.build(name)): name for name in ACTS.names()}


def describe(module: nn.Module) -> str:
    """Describe a layer: "conv 3x3 /2, gn 8 groups, relu"."""
    known = _NAMES.get(type(module))
    groups = getattr(module, "num_groups", None)
    if groups is not None:
        return f"{known or 'groupnorm'} {groups} group{'s' if groups > 1 else ''}"
    if known or type(module) in _ACT_NAMES:
        return known or _ACT_NAMES[type(module)]
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.modules.conv._ConvNd):
        return _conv(module)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        kernel, stride = _as_pair(module.kernel_size), _as_pair(module.stride)
        return f"{'max' if isinstance(module, nn.MaxPool2d) else 'avg'} {kernel[0]}x{kernel[1]}{_stride(stride)}"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return f"average to {_as_pair(module.output_size)[0]}x{_as_pair(module.output_size)[1]}"
    if isinstance(module, LocallyConnected):
        return f"local {module.kernel_size}x{module.kernel_size}{_stride((module.stride,) * 2)}"
    parts = [describe(child) for child in _ordered_children(module) if not isinstance(child, nn.Identity)]
    return ", ".join(part for part in parts if part) or type(module).__name__.lower()


def _ordered_children(module: nn.Module) -> list[nn.Module]:
    """Return the children in the order of calls: noise may come before the norm, and LRN comes after the activation."""
    names = dict(module.named_children())
    if {"norm", "act", "drop"} <= set(names):
        behind = follows_activation(names["norm"])
        middle = ["act", "norm"] if behind else ["norm", "act"]
        middle = ["drop", *middle] if isinstance(module, Block) and module.drop_first else [*middle, "drop"]
        order = [*middle, "conv"] if isinstance(module, NormAct) else ["conv", "linear", *middle]
        return [names[name] for name in order if name in names]
    return list(names.values())


def _conv(module: Any) -> str:
    kernel = "x".join(str(k) for k in module.kernel_size)
    words = [f"{'transposed' if module.transposed else 'conv'} {kernel}{_stride(module.stride)}"]
    if max(module.dilation) > 1:
        words.append(f"dilation {max(module.dilation)}")
    if module.groups == module.in_channels > 1:
        words.append("depthwise")
    elif module.groups > 1:
        words.append(f"{module.groups} groups")
    return " ".join(words)


def _stride(stride: Sequence[int]) -> str:
    return "" if max(stride) == 1 else f" /{max(stride)}"


def _as_pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def kernels_of(module: nn.Module) -> list[list[int]]:
    """Return the kernel sizes of the convolutions and poolings inside a module."""
    pools = nn.MaxPool2d | nn.AvgPool2d
    convs = (m for m in module.modules() if isinstance(m, nn.modules.conv._ConvNd | pools))
    return [list(_as_pair(m.kernel_size)) for m in convs]
