"""Poolings and strides that round up: ceil(H / stride) pixels of H, where torch's would leave some over at the edge."""

from __future__ import annotations

from functools import partial
from math import ceil

import torch
from torch import Tensor, nn

from dlzoo.layers.pool import ConvPool


def round_up(network: nn.Module) -> None:
    """Let all poolings and convolutions of `network` repeat the last row and column of their maps where they need it.

    The largest value of a window stays what it is, as with ceil_mode of torch's poolings; those of three pixels without
    padding would round down all the same. Where nothing is left over, nothing changes.
    """
    for module in network.modules():
        if isinstance(module, ConvPool):
            module.extra = 0  # the zeros of ceil_mode: its convolution is one of those below
        elif type(module) in (nn.MaxPool2d, nn.AvgPool2d, nn.Conv2d):
            kernel, stride, padding, dilation = (
                _number(getattr(module, key, 1)) for key in ("kernel_size", "stride", "padding", "dilation")
            )
            span = dilation * (kernel - 1) + 1 - 2 * padding
            if stride > 1 and span > 1:
                # A partial of a function, unlike a closure, can be copied and pickled.
                module.register_forward_pre_hook(partial(_complete, span, stride))


def _number(value: int | tuple[int, int]) -> int:
    return value if isinstance(value, int) else value[0]


def _complete(span: int, stride: int, module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """The maps with so many rows and columns that a window of `span` pixels begins in every `stride` of them."""
    (x,) = inputs
    for dim in (2, 3):
        missing = (ceil(x.shape[dim] / stride) - 1) * stride + span - x.shape[dim]
        if missing > 0:
            x = torch.cat([x, *[x.narrow(dim, -1, 1)] * missing], dim)
    return x
