"""Passes on the meta device: shapes and dependences of a network without its memory."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

Network = TypeVar("Network", bound=nn.Module)


class ShapesOnly(TorchDispatchMode):
    """Context that answers norms and common activations and sums of meta tensors with empty tensors.

    torch finds the shapes of their outputs in Python, a norm's by decomposing it into many small operations. This is
    most of the time of a pass on the meta device. Other operations, and tensors of other devices, are left to torch.
    """

    _NORMS = (
        torch.ops.aten.native_batch_norm.default,
        torch.ops.aten.native_group_norm.default,
        torch.ops.aten.native_layer_norm.default,
    )
    _POINTWISE = (
        *(torch.ops.aten.relu, torch.ops.aten.leaky_relu, torch.ops.aten.elu, torch.ops.aten.hardtanh),
        *(torch.ops.aten.hardswish, torch.ops.aten.hardsigmoid, torch.ops.aten.silu, torch.ops.aten.mish),
        *(torch.ops.aten.gelu, torch.ops.aten.sigmoid, torch.ops.aten.tanh, torch.ops.aten.softplus),
        *(torch.ops.aten.add, torch.ops.aten.sub, torch.ops.aten.mul, torch.ops.aten.div),
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._NORMS and args[0].is_meta:
            size = _statistics_size(func, args)
            # As torch does: a layer norm's output is contiguous, the others' is laid out as the input.
            layout = torch.contiguous_format if func is self._NORMS[2] else torch.preserve_format
            return torch.empty_like(args[0], memory_format=layout), args[0].new_empty(size), args[0].new_empty(size)
        if func.overloadpacket in self._POINTWISE and _alike(args):
            return torch.empty_like(args[0])
        return func(*args, **(kwargs or {}))


def _statistics_size(norm: Any, args: Any) -> tuple[int, ...]:
    """Return the size of the means that a norm returns beside its output."""
    x = args[0]
    if norm is torch.ops.aten.native_batch_norm.default:
        return (x.shape[1] if args[5] else 0,)
    if norm is torch.ops.aten.native_group_norm.default:
        return (args[3], args[6])
    kept = x.dim() - len(args[1])
    return (*x.shape[:kept], *([1] * len(args[1])))


def _alike(args: Any) -> bool:
    """Return whether all tensors are on the meta device, of one shape and one floating-point type."""
    first, tensors = args[0], [each for each in args if isinstance(each, Tensor)]
    same = all(each.shape == first.shape and each.dtype == first.dtype for each in tensors)
    return same and first.is_meta and first.is_floating_point()


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


def unused_parameters(network: nn.Module, image: Tensor) -> tuple[list[Tensor], list[str]]:
    """Return the outputs of a network, and the paths of the parameters that they do not depend on by autograd's graph.

    Args:
        network: evaluated with weights on the meta device; it stays as it is.
        image: on the meta device.
    """
    weights = {path: torch.empty_like(each, device="meta") for path, each in network.named_parameters()}
    buffers = {path: torch.empty_like(each, device="meta") for path, each in network.named_buffers()}
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.enable_grad(), ShapesOnly():
            own = {path: weight.requires_grad_() for path, weight in weights.items()}
            outputs = list(functional_call(network, {**own, **buffers}, (image,)))
    finally:
        for module, training in modes:
            module.training = training
    used, seen, todo = set(), set(), [output.grad_fn for output in outputs]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            used.add(id(getattr(node, "variable", None)))  # the leaves of the graph have one
            todo += [before for before, _ in node.next_functions]
    return outputs, [path for path, weight in own.items() if id(weight) not in used]
