"""Norms and activations of a network that was written elsewhere, replaced by those that the user chose.

Only modules can be replaced. Activations that a network calls as functions, and norms of a kind that is not known here,
stay; `replace_parts` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from dlzoo.layers.parts import Parts

#: Activations between layers. Gates (sigmoid, hard sigmoid, softmax) are part of what a layer is and stay.
_ACTS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Softplus),
)
#: Classes of timm that are none of torch's, by name.
_NAMED_ACTS = {
    *("Swish", "Mish", "HardSwish", "HardMish", "GELU", "GELUTanh", "QuickGELU", "PReLU", "SwishMe", "MishMe"),
    *("HardSwishMe", "HardMishMe"),
}
_FUNCTIONS = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish, F.hardswish, F.relu_, F.leaky_relu_),
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
}


class ChannelsLast(nn.Module):
    """A norm of ours, (N, C, ...), where another expects channels at the end: (N, ..., C) -> the same shape."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(-1, 1)).movedim(1, -1)


def replace_parts(network: nn.Module, parts: Parts, run: Callable[[], Any]) -> list[str]:
    """Put the chosen norm and activation into every place of `network`, in place; in words, what was and was not done.

    Args:
        network: any module.
        parts: what the user chose; a kind that nobody chose stays as it is.
        run: one forward pass of the network, to find activations that are functions.
    """
    said = []
    if parts.chosen("norm"):
        done, left = _replace(network, lambda module: _norm(module, parts), _is_norm)
        said.append(_sentence("norm", done, left) + (_differences(parts.norm(8)) if done else ""))
    if parts.chosen("act"):
        done, left = _replace(network, lambda module: parts.act() if _is_act(module) else None, _is_act)
        left += _functional_acts(network, run)
        said.append(_sentence("activation", done, left))
    return said


def _differences(norm: nn.Module) -> str:
    """What cannot be as in our own models, where a block knows its norm."""
    bare = "" if getattr(norm, "replaces_bias", True) else "; the layers before them stay without a bias"
    return bare + ("; before the activations, not after them" if getattr(norm, "follows_act", False) else "")


def _norm(module: nn.Module, parts: Parts) -> nn.Module | None:
    """A norm in place of `module`, with the activation that some of timm's bring along; None if there can be none."""
    if isinstance(module, (_NormBase, nn.GroupNorm)):
        channels = module.num_channels if isinstance(module, nn.GroupNorm) else module.num_features
        norm = parts.norm(channels)
    elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        norm = parts.norm(module.normalized_shape[0])
        if "2d" not in type(module).__name__:
            norm = ChannelsLast(norm)
    else:
        return None
    along = [getattr(module, name) for name in ("drop", "act") if isinstance(getattr(module, name, None), nn.Module)]
    return nn.Sequential(norm, *along) if along else norm


def _is_norm(module: nn.Module) -> bool:
    known = isinstance(module, (_NormBase, nn.GroupNorm, nn.LayerNorm))
    return known or ("Norm" in type(module).__name__ and not any(True for _ in module.children()))


def _is_act(module: nn.Module) -> bool:
    return isinstance(module, _ACTS) or type(module).__name__ in _NAMED_ACTS


def _replace(
    network: nn.Module, make: Callable[[nn.Module], nn.Module | None], wanted: Callable[[nn.Module], bool]
) -> tuple[int, Counter[str]]:
    """(how many were replaced, class -> how many were wanted and could not be)."""
    done, left = 0, Counter[str]()
    places = [(parent, name, child) for parent in network.modules() for name, child in parent.named_children()]
    for parent, name, child in places:
        if not wanted(child):
            continue
        other = make(child)
        if other is None:
            left[type(child).__name__] += 1
        else:
            setattr(parent, name, other)
            done += 1
    return done, left


def _functional_acts(network: nn.Module, run: Callable[[], Any]) -> Counter[str]:
    """Function -> how often a pass calls it outside of an activation module."""
    inside = 0
    found = Counter[str]()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in _FUNCTIONS and not inside:
                found[f"call of {func.__name__}"] += 1
            return func(*args, **(kwargs or {}))

    def enter(*_: Any) -> None:
        nonlocal inside
        inside += 1

    def leave(*_: Any) -> None:
        nonlocal inside
        inside -= 1

    with _hooks(network, enter, leave), Watch():
        run()
    return found


@contextmanager
def _hooks(network: nn.Module, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Call `enter` and `leave` around every module that has no children: an activation's own calls are its own."""
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_pre_hook(enter) for module in leaves]
    handles += [module.register_forward_hook(leave) for module in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sentence(kind: str, done: int, left: Counter[str]) -> str:
    kept = ", ".join(f"{count} x {name}" for name, count in left.items())
    return f"{kind}: {done} replaced" + (f"; not replaced: {kept}" if left else "")
