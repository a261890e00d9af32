"""Upsampling: (N, channels, H, W) -> (N, channels, factor * H, factor * W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.registries import UPSAMPLES


@UPSAMPLES.register("nearest", source="torch.nn.Upsample")
def nearest(*, factor: int) -> nn.Module:
    """Nearest neighbour: each pixel becomes a square"""
    return nn.Upsample(scale_factor=factor, mode="nearest")


@UPSAMPLES.register("bilinear", source="torch.nn.Upsample, align_corners=False")
def bilinear(*, factor: int) -> nn.Module:
    """Bilinear interpolation between the centres of pixels"""
    return nn.Upsample(scale_factor=factor, mode="bilinear")


@UPSAMPLES.register("transposed", source="arXiv:1411.4038, section 3.3")
class Transposed(nn.Module):
    """A depthwise transposed convolution, initialised as bilinear interpolation and learnt.

    Kernel 2 * factor (factor even) or 2 * factor - 1 (odd), stride factor.
    """

    keeps_init = True

    def __init__(self, *, channels: int, factor: int) -> None:
        super().__init__()
        kernel = 2 * factor - factor % 2
        self.conv = nn.ConvTranspose2d(
            channels, channels, kernel, stride=factor, padding=(kernel - factor) // 2, groups=channels, bias=False
        )
        centre = (kernel - 1) / 2
        line = 1 - (torch.arange(kernel) - centre).abs() / factor
        with torch.no_grad():
            self.conv.weight.copy_(torch.outer(line, line).expand_as(self.conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UpConv(nn.Module):
    """A learnt 2x2 transposed convolution: (N, in_channels, H, W) -> (N, out_channels, 2 H, 2 W); arXiv:1505.04597."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
