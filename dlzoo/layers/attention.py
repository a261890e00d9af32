"""Channel and spatial attention, by gates between 0 and 1: (N, C, H, W) -> the same shape."""

from __future__ import annotations

from math import log2
from typing import Literal

import torch
from torch import Tensor, nn

from dlzoo.core.registries import ATTENTIONS
from dlzoo.core.schema import Size


@ATTENTIONS.register("none", source="no attention")
def none() -> nn.Module:
    """The identity"""
    return nn.Identity()


def _hidden_width(channels: int, reduction: int, min_channels: int) -> int:
    """Return the width of the hidden layer, at least `min_channels`: one or two channels can learn little."""
    return min(channels, max(channels // reduction, min_channels))


@ATTENTIONS.register("se", source="arXiv:1709.01507, equations 2 to 4")
class SqueezeExcitation(nn.Module):
    """Squeeze: the mean of each channel. Excitation: two linear layers. Scale: each channel by its gate.

    The hidden layer has channels / reduction features, at least `min_channels`.
    """

    def __init__(self, *, channels: int, reduction: Size = 16, min_channels: Size = 8, bias: bool = True) -> None:
        super().__init__()
        hidden = _hidden_width(channels, reduction, min_channels)
        self.reduce = nn.Linear(channels, hidden, bias=bias)
        self.act = nn.ReLU()
        self.expand = nn.Linear(hidden, channels, bias=bias)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(self.expand(self.act(self.reduce(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class ChannelGate(nn.Module):
    """Channel attention (equation 2): one shared multi-layer perceptron on the mean and the maximum of each channel."""

    def __init__(self, channels: int, reduction: int, min_channels: int) -> None:
        super().__init__()
        hidden = _hidden_width(channels, reduction, min_channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(self.perceptron(x.mean((2, 3))) + self.perceptron(x.amax((2, 3))))
        return x * weights[:, :, None, None]


class SpatialGate(nn.Module):
    """Spatial attention (equation 3): a convolution over the mean and the maximum of the channels."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding="same")
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)
        return x * self.gate(self.conv(summary))


@ATTENTIONS.register("cbam", source="arXiv:1807.06521, equations 1 to 3")
class CBAM(nn.Module):
    """Channel, then spatial attention, or one of them by `kind`. `min_channels`: minimal width of the hidden layer."""

    def __init__(
        self,
        *,
        channels: int,
        kind: Literal["both", "channel", "spatial"] = "both",
        reduction: Size = 16,
        min_channels: Size = 8,
        kernel_size: Size = 7,
    ) -> None:
        super().__init__()
        self.channel = ChannelGate(channels, reduction, min_channels) if kind != "spatial" else nn.Identity()
        self.spatial = SpatialGate(kernel_size) if kind != "channel" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(self.channel(x))


@ATTENTIONS.register("eca", source="arXiv:1910.03151, equations 9 and 12")
class ECA(nn.Module):
    """Channel gates by a 1-D convolution along the channels, over the mean of each channel.

    Its kernel is the odd number nearest to log2(C) / gamma + b / gamma, or `kernel_size`.
    """

    def __init__(self, *, channels: int, gamma: Size = 2, b: Size = 1, kernel_size: Size | None = None) -> None:
        super().__init__()
        adaptive = int(abs((log2(channels) + b) / gamma))
        size = kernel_size or (adaptive if adaptive % 2 else adaptive + 1)
        self.conv = nn.Conv1d(1, 1, size, padding="same", bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(self.conv(x.mean((2, 3)).unsqueeze(1))).squeeze(1)
        return x * weights[:, :, None, None]
