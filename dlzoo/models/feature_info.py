"""Where a network has its maps, found out without memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import count
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError, first_line

Network = TypeVar("Network", bound=nn.Module)


class Tap(NamedTuple):
    """Where a map can be had.

    Attributes:
        path: of a block, whose output it is.
        given: whether it is the block's input instead, which no other block put out.
        moment: when; comparable with that at which a block begins.
        map: as it was on the meta device, (1, C, H, W).
    """

    path: str
    given: bool
    moment: int
    map: Tensor


class Survey:
    """What one pass through a network shows of it, between its blocks.

    Args:
        network: any; it stays as it is.
        in_channels: of its images.
        image_size: pixels a side of its images; it is tried on a size at which maps that round up have a pixel more.

    Attributes:
        taps: stride -> the last map with ceil(H / stride) pixels of images with H.
        begins: path -> when the block begins; without those that were not called.

    Raises:
        UserError: if there is no map, and if the network cannot work on images of another size.
    """

    def __init__(self, network: nn.Module, in_channels: int, image_size: int) -> None:
        self._side = 1 << (image_size - 1).bit_length()
        self._clock = count()
        images = torch.empty(1, in_channels, self._side + 1, self._side + 1, device="meta")
        self._known = [images]
        self._network = without_memory(network).eval()
        self.taps: dict[int, Tap] = {}
        self.begins: dict[str, int] = {}
        for path, block in blocks(self._network):
            self._watch(path, block)
        try:
            with torch.enable_grad():
                self._network(images)
        except RuntimeError as error:
            size = self._side + 1
            raise UserError(f"the backbone cannot work on images of {size} px: {first_line(error)}") from error
        if not self.taps:
            raise UserError("the backbone has no maps of which a pixel stands for a square of 2, 4, 8, ... pixels")

    def without_influence(self, maps: Iterable[Tensor]) -> list[str]:
        """The paths of the parameters on which `maps` of the taps do not depend."""
        reached, seen, todo = set(), set(), [x.grad_fn for x in maps]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen:
                seen.add(node)
                reached.add(id(getattr(node, "variable", None)))  # the leaves of autograd's graph have one
                todo += [before for before, _ in node.next_functions]
        return [path for path, parameter in self._network.named_parameters() if id(parameter) not in reached]

    def _watch(self, path: str, block: nn.Module) -> None:
        block.register_forward_pre_hook(lambda _, given: self._see(path, True, given[0]))
        block.register_forward_hook(lambda _, given, output: self._see(path, False, output))

    def _see(self, path: str, given: bool, maps: Any) -> None:
        moment = next(self._clock)
        if given:
            self.begins[path] = moment
        # What comes out of one block goes into another: it is the same map.
        if isinstance(maps, Tensor) and maps.dim() == 4 and not any(maps is other for other in self._known):
            self._known.append(maps)
            side = maps.shape[-1] - 1
            if side > 0 and self._side % side == 0:
                self.taps[self._side // side] = Tap(path, given, moment, maps)


def blocks(network: nn.Module, *, whole: bool = False, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of what a network is put together from: its children, sequences and lists opened.

    `whole`: without those sequences and lists themselves.
    """
    for name, child in network.named_children():
        opened = isinstance(child, nn.Sequential | nn.ModuleList)
        if not (opened and whole):
            yield path + name, child
        if opened:
            yield from blocks(child, whole=whole, path=f"{path}{name}.")


def without_memory(network: Network) -> Network:
    """A copy on the meta device, made without copying a weight."""
    memo: dict[int, Any] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"))
    return deepcopy(network, memo)
