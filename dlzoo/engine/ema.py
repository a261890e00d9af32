"""Exponential moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of weights and running statistics: average += (1 - decay) * (network - average).

    It starts as a copy of the network after the first step; integer buffers are copied. (torch's AveragedModel reads a
    counter on the device at each step, for which the host waits.)

    Args:
        average, network: two copies of a network, on their final device.
    """

    def __init__(self, average: nn.Module, network: nn.Module, decay: float) -> None:
        pairs = list(zip(_tensors(average), _tensors(network), strict=True))
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._decay = decay

    def update(self, first: bool) -> None:
        """Update the average with the network after a step; `first` is true for the first step."""
        averages, values = ([pair[side] for pair in self._moving] for side in (0, 1))
        torch._foreach_lerp_(averages, values, 1.0 if first else 1 - self._decay)  # pyright: ignore
        for average, value in self._copied:
            average.copy_(value)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers())]
