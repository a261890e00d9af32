"""Poolings and strided convolutions that round up their output size to ceil(H / stride), and drop no pixels."""

from __future__ import annotations

from functools import partial
from math import ceil

import torch
from torch import Tensor, nn

from dlzoo.layers.pool import ConvPool


def round_up(network: nn.Module) -> None:
    """Make poolings and strided convolutions of `network` repeat the last row and column of their input if needed.

    The maximum of a window is the same as with ceil_mode of torch's poolings, which still round down for kernels of
    three pixels without padding. Nothing changes if the stride divides the size.
    """
    for module in network.modules():
        if isinstance(module, ConvPool):
            module.extra = 0  # replaces the zeros of ceil_mode: its convolution is handled below
        elif type(module) in (nn.MaxPool2d, nn.AvgPool2d, nn.Conv2d):
            kernel, stride, padding, dilation = (
                _number(getattr(module, key, 1)) for key in ("kernel_size", "stride", "padding", "dilation")
            )
            span = dilation * (kernel - 1) + 1 - 2 * padding
            if stride > 1 and span > 1:
                # A partial, unlike a closure, can be copied and pickled.
                module.register_forward_pre_hook(partial(_complete, span, stride))


def _number(value: int | tuple[int, int]) -> int:
    return value if isinstance(value, int) else value[0]


def _complete(span: int, stride: int, module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Return the feature maps extended such that a window of `span` pixels starts at every multiple of `stride`."""
    (x,) = inputs
    for dim in (2, 3):
        missing = (ceil(x.shape[dim] / stride) - 1) * stride + span - x.shape[dim]
        if missing > 0:
            x = torch.cat([x, *[x.narrow(dim, -1, 1)] * missing], dim)
    return x
