"""Poolings and strided convolutions that round up their output size to ceil(H / stride), and drop no pixels."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dlzoo.layers.pool import ConvPool, pair


class Window(NamedTuple):
    """The window of a pooling or a convolution along an axis; all in pixels of its input.

    Attributes:
        span: from its first to its last pixel, without the padding at both ends.
        stride: from a window to the next.
        dilation: from a pixel of a window to the next.
    """

    span: int
    stride: int
    dilation: int


def round_up(network: nn.Module) -> None:
    """Make poolings and strided convolutions of `network` repeat the last row and column of their input if needed.

    The maximum of a window is the same as with ceil_mode of torch's poolings, which still round down for kernels of
    three pixels without padding. Nothing changes if the stride divides the size.
    """
    for module in network.modules():
        if isinstance(module, ConvPool):
            module.extra = 0  # replaces the zeros of ceil_mode: its convolution is handled below
        elif type(module) in (nn.MaxPool2d, nn.AvgPool2d, nn.Conv2d) and loses_pixels(module):
            cover_all(module)


def loses_pixels(module: nn.Module) -> bool:
    """Return whether a pooling or convolution has a stride, and windows that may reach beyond its input."""
    has_stride = max(pair(getattr(module, "stride", 1))) > 1  # else the padding may be a word
    return has_stride and any(window.stride > 1 and window.span > 1 for window in windows(module))


def cover_all(module: nn.Module) -> None:
    """Make a pooling or convolution extend its input such that a window starts at every multiple of its stride."""
    module.register_forward_pre_hook(_complete)


def windows(module: nn.Module) -> tuple[Window, Window]:
    """Return the window of a pooling or convolution along the height and the width."""
    sizes = (pair(getattr(module, key, 1)) for key in ("kernel_size", "stride", "padding", "dilation"))
    kernel, stride, padding, dilation = sizes
    down, across = (Window(dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i], stride[i], dilation[i]) for i in (0, 1))
    return down, across


def _complete(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Return the feature maps extended such that a window starts at every multiple of the stride.

    The last rows and columns are repeated, of dilated windows as many as the dilation: each window then sees the last
    one of its own.
    """
    (x,) = inputs
    for dim, (span, stride, dilation) in zip((2, 3), windows(module), strict=True):
        size = x.shape[dim]
        missing = (ceil(size / stride) - 1) * stride + span - size
        if missing > 0:
            repeated = min(dilation, size)
            last = x.narrow(dim, size - repeated, repeated)
            x = torch.cat([x, *[last] * ceil(missing / repeated)], dim).narrow(dim, 0, size + missing)
    return x
