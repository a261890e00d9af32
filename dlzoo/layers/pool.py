"""Pooling layers. An entry takes the window of the model's pooling: kernel size, stride, padding, ceil_mode."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import POOLS
from dlzoo.core.schema import Sizes
from dlzoo.layers.conv import ConvNormAct
from dlzoo.layers.parts import Parts


@POOLS.register("max", source="Zhou and Chellappa 1988; torch.nn.MaxPool2d")
def max_pool(*, kernel_size: int, stride: int, padding: int, ceil_mode: bool) -> nn.Module:
    """The largest value of each window"""
    return nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)


@POOLS.register("avg", source="LeCun et al. 1998, section II.B; torch.nn.AvgPool2d")
def avg_pool(*, kernel_size: int, stride: int, padding: int, ceil_mode: bool) -> nn.Module:
    """The mean of each window, without padded pixels"""
    return nn.AvgPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=False)


@POOLS.register("conv", source="arXiv:1412.6806, section 2")
class ConvPool(nn.Module):
    """A convolution with the window of the pooling, norm and activation."""

    def __init__(
        self, *, channels: int, parts: Parts, kernel_size: int, stride: int, padding: int, ceil_mode: bool
    ) -> None:
        super().__init__()
        self.block = ConvNormAct(channels, channels, kernel_size, parts, stride=stride, padding=padding)
        self.extra = stride - 1 if ceil_mode else 0

    def forward(self, x: Tensor) -> Tensor:
        return self.block(F.pad(x, (0, self.extra, 0, self.extra)))


class DilatedMaxPool(nn.MaxPool2d):
    """Max pooling with stride 1 over windows of pixels `dilation` apart; torch's takes too little padding for it.

    Args:
        pool: has the windows that are dilated.
        dilation: along the height and the width.
    """

    def __init__(self, pool: nn.MaxPool2d, dilation: tuple[int, int]) -> None:
        padding = _dilated_padding(pool.padding, dilation)
        super().__init__(pool.kernel_size, 1, padding, dilation)

    def forward(self, input: Tensor) -> Tensor:
        down, across = pair(self.padding)
        padded = F.pad(input, (across, across, down, down), value=float("-inf"))
        return F.max_pool2d(padded, self.kernel_size, 1, dilation=self.dilation)


class DilatedAvgPool(nn.AvgPool2d):
    """Average pooling with stride 1 over windows of pixels `dilation` apart, without padded pixels unless `pool` does.

    Args:
        pool: has the windows that are dilated.
        dilation: along the height and the width.
    """

    def __init__(self, pool: nn.AvgPool2d, dilation: tuple[int, int]) -> None:
        padding = _dilated_padding(pool.padding, dilation)
        super().__init__(pair(pool.kernel_size), 1, padding, count_include_pad=pool.count_include_pad)
        self.dilation = dilation

    def forward(self, input: Tensor) -> Tensor:
        sums = self._sums(input.flatten(0, 1)[:, None]).unflatten(0, input.shape[:2])[:, :, 0]
        down, across = pair(self.kernel_size)
        return sums / (down * across if self.count_include_pad else self._sums(torch.ones_like(input[:1, :1])))

    def _sums(self, maps: Tensor) -> Tensor:
        """Return the sum of each window: (N, 1, H, W) -> (N, 1, H', W')."""
        kernel = maps.new_ones(1, 1, *pair(self.kernel_size))
        return F.conv2d(maps, kernel, padding=pair(self.padding), dilation=self.dilation)


def _dilated_padding(padding: int | tuple[int, ...], dilation: tuple[int, int]) -> tuple[int, int]:
    down, across = pair(padding)
    return down * dilation[0], across * dilation[1]


def pair(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    """Return a setting of a layer for the height and the width."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


class SpatialPyramid(nn.Module):
    """Concatenated max pooling over windows of several sizes: (N, C, H, W) -> (N, len(sizes) * C, H, W).

    arXiv:2004.10934 (YOLOv4); size 1 is the identity.

    Raises:
        UserError: for no window, or one of even size.
    """

    def __init__(self, sizes: Sizes = (1, 5, 9, 13)) -> None:
        super().__init__()
        if not sizes or any(size % 2 == 0 for size in sizes):
            raise UserError(f"windows of a spatial pyramid must be odd numbers, not {list(sizes)}")
        self.pools = nn.ModuleList(nn.MaxPool2d(size, stride=1, padding=size // 2) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([pool(x) for pool in self.pools], dim=1)
