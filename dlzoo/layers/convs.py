"""Kinds of convolution: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).

Every entry supports odd and even kernel sizes. Docstrings give the number of weights for K x K kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import CONVS
from dlzoo.core.schema import Size, Sizes
from dlzoo.layers.norm import divisor


@dataclass(frozen=True)
class ConvSettings:
    """`kernel_size`: kernel size of all convolutions that `conv` replaces; null keeps the model's."""

    kernel_size: Size | None = None


#: Strided 1x1 convolutions with fewer input channels use PickedConv.
_NARROW = 16


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
    valid: bool = False,
) -> nn.Module:
    """Return a convolution that keeps the size at stride 1: zero padding, with one more at the end if it is odd.

    `valid`: no padding, so that feature maps lose dilation * (kernel_size - 1) pixels.
    """
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    around = [0 if valid else dilation * (k - 1) for k in kernel]
    settings = {"stride": stride, "dilation": dilation, "groups": groups, "bias": bias}
    if any(zeros % 2 for zeros in around):
        return PaddedConv(in_channels, out_channels, kernel, **settings)
    if kernel == (1, 1) and stride not in (1, (1, 1)) and in_channels < _NARROW:
        return PickedConv(in_channels, out_channels, kernel, **settings)
    return nn.Conv2d(in_channels, out_channels, kernel, padding=(around[0] // 2, around[1] // 2), **settings)


class PickedConv(nn.Conv2d):
    """A strided 1x1 convolution, computed on the pixels selected beforehand.

    oneDNN of torch 2.15 writes out of bounds in the backward pass of strided 1x1 convolutions with few channels (8 to
    16, for feature maps of 64 px), in the memory format of our batches.
    """

    def forward(self, input: Tensor) -> Tensor:
        down, across = self.stride
        return F.conv2d(input[:, :, ::down, ::across], self.weight, self.bias, groups=self.groups)


class PaddedConv(nn.Conv2d):
    """A convolution with an even kernel, whose padding is asymmetric."""

    def forward(self, input: Tensor) -> Tensor:
        height, width = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(input, sides))


@CONVS.register("standard", source="LeCun et al. 1998, section II.A")
def standard(
    *, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool, valid: bool
) -> nn.Module:
    """Every output channel depends on every input channel: K^2 * in * out weights."""
    return conv2d(in_channels, out_channels, kernel_size, stride=stride, bias=bias, valid=valid)


@CONVS.register("grouped", source="Krizhevsky et al. 2012, section 3.2")
def grouped(
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    bias: bool,
    valid: bool,
    groups: Size = 2,
) -> nn.Module:
    """Independent groups of channels: K^2 * in * out / groups weights.

    The number of groups is the largest divisor of both channels that is at most `groups`.
    """
    groups = divisor(gcd(in_channels, out_channels), groups, 1)
    return conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias, valid=valid)


@CONVS.register("depthwise", source="arXiv:1704.04861, equation 3")
def depthwise(
    *, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool, valid: bool
) -> nn.Module:
    """One group per channel: K^2 * out weights if `out` is a multiple of `in`; otherwise gcd(in, out) groups"""
    groups = gcd(in_channels, out_channels)
    return conv2d(in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias, valid=valid)


@CONVS.register("separable", source="arXiv:1704.04861, section 3.1, without the norm and activation in between")
def separable(
    *, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool, valid: bool
) -> nn.Module:
    """Depthwise (pixels), then pointwise (channels): K^2 * in + in * out weights."""
    return nn.Sequential(
        conv2d(in_channels, in_channels, kernel_size, stride=stride, groups=in_channels, bias=False, valid=valid),
        nn.Conv2d(in_channels, out_channels, 1, bias=bias),
    )


@CONVS.register("asymmetric", source="arXiv:1512.00567, section 3.2")
def asymmetric(
    *, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool, valid: bool
) -> nn.Module:
    """K x 1, then 1 x K: K * (in + out) * out weights."""
    return nn.Sequential(
        conv2d(in_channels, out_channels, (kernel_size, 1), stride=(stride, 1), bias=False, valid=valid),
        conv2d(out_channels, out_channels, (1, kernel_size), stride=(1, stride), bias=bias, valid=valid),
    )


@CONVS.register("dilated", source="arXiv:1511.07122, equation 2")
def dilated(
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    bias: bool,
    valid: bool,
    number: int,
    rates: Sizes = (2,),
) -> nn.Module:
    """Kernel elements `rate` pixels apart: spans rate * (K - 1) + 1 pixels with the weights of a standard convolution.

    The convolutions of the network cycle through `rates`: [1,2,5] avoids the gaps (gridding) of [2,2,2]
    (arXiv:1702.08502, section 3.2).
    """
    if not rates:
        raise UserError("conv.rates needs at least one rate, such as conv.rates=[2]")
    rate = rates[number % len(rates)]
    return conv2d(in_channels, out_channels, kernel_size, stride=stride, dilation=rate, bias=bias, valid=valid)


@CONVS.register("locally_connected", source="LeCun 1989, 'Generalization and network design strategies'", needs="size")
class LocallyConnected(nn.Module):
    """A convolution with separate weights for each output pixel: K^2 * in * out weights per output pixel."""

    def __init__(
        self, *, in_channels: int, out_channels: int, kernel_size: int, stride: int, bias: bool, valid: bool, size: int
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.zeros = kernel_size, stride, 0 if valid else kernel_size - 1
        self.out_size = (size + self.zeros - kernel_size) // stride + 1
        pixels, inputs = self.out_size**2, in_channels * kernel_size**2
        self.weight = nn.Parameter(torch.empty(out_channels, inputs, pixels))
        self.bias = nn.Parameter(torch.zeros(out_channels, pixels)) if bias else None
        bound = inputs**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def fill_(self, init: Callable[[Tensor], None]) -> None:
        """Initialise the weights of each output pixel as a convolution, (out, in, K, K), and set biases to zero."""
        for pixel in range(self.weight.shape[2]):
            init(self.weight.data[:, :, pixel].unflatten(1, (-1, self.kernel_size, self.kernel_size)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        before, after = self.zeros // 2, self.zeros - self.zeros // 2
        patches = F.unfold(F.pad(input, (before, after, before, after)), self.kernel_size, stride=self.stride)
        out = torch.einsum("nip,oip->nop", patches, self.weight)
        if self.bias is not None:
            out = out + self.bias
        return out.unflatten(2, (self.out_size, self.out_size))

    def extra_repr(self) -> str:
        out_channels, inputs, _ = self.weight.shape
        in_channels = inputs // self.kernel_size**2
        return f"{in_channels}, {out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
