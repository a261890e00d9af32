"""Passes on the meta device: shapes and dependences of a network without its memory."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_to_meta(network: Network) -> Network:
    """Copy a network to the meta device without copying a weight."""
    memo: dict[int, Any] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"))
    return deepcopy(network, memo)


def odd_image(in_channels: int, image_size: int) -> Tensor:
    """Make an image on the meta device with one pixel more, a side, than a power of two >= `image_size`.

    With poolings and strides that round up, a feature map at stride s has one pixel more than a power of two as well.
    """
    side = (1 << (image_size - 1).bit_length()) + 1
    return torch.empty(1, in_channels, side, side, device="meta")


def unused_parameters(network: nn.Module, outputs: Iterable[Tensor]) -> list[str]:
    """Find the paths of the parameters that `outputs` do not depend on, by autograd's graph."""
    used, seen, todo = set(), set(), [output.grad_fn for output in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            used.add(id(getattr(node, "variable", None)))  # the leaves of the graph have one
            todo += [before for before, _ in node.next_functions]
    return [path for path, parameter in network.named_parameters() if id(parameter) not in used]
