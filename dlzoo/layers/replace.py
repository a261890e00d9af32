"""Replacement of norms and activations of a third-party network by those that the user chose.

Only modules can be replaced. Activations that a network calls as functions, and unknown kinds of norms, are kept;
`replace_parts` reports them.
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

from dlzoo.core.protocols import follows_activation
from dlzoo.layers.conv import needs_bias
from dlzoo.layers.parts import Parts

#: Activations between layers. Gates (sigmoid, hard sigmoid, softmax) are part of a layer and are kept.
_ACTS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Softplus),
)
#: Activation classes of timm, by name.
_NAMED_ACTS = {
    *("Swish", "Mish", "HardSwish", "HardMish", "GELU", "GELUTanh", "QuickGELU", "PReLU", "SwishMe", "MishMe"),
    *("HardSwishMe", "HardMishMe"),
}
_FUNCTIONS = {
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.gelu, F.silu, F.mish, F.hardswish, F.relu_, F.leaky_relu_),
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
}


class ChannelsLast(nn.Module):
    """Wrap a norm for (N, C, ...) to take channels last: (N, ..., C) -> the same shape."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(-1, 1)).movedim(1, -1)


def replace_parts(network: nn.Module, parts: Parts, run: Callable[[], Any]) -> list[str]:
    """Replace norms and activations of `network` in place, and return sentences on what was and was not replaced.

    Args:
        network: any module.
        parts: the parts that the user chose; other kinds are kept.
        run: one forward pass of the network, to find activations that are called as functions.
    """
    notes = []
    if parts.chosen("norm"):
        done, left = _replace(network, lambda module: _norm(module, parts), _is_norm)
        notes.append(_sentence("norm", done, left) + (_differences(parts.norm(8)) if done else ""))
    if parts.chosen("act"):
        done, left = _replace(network, lambda module: parts.act() if _is_act(module) else None, _is_act)
        left += _functional_acts(network, run)
        notes.append(_sentence("activation", done, left))
    return notes


def _differences(norm: nn.Module) -> str:
    """Return how the result differs from dlzoo's own models, in which a block knows its norm."""
    bare = "; the layers before them stay without a bias" if needs_bias(norm) else ""
    return bare + ("; before the activations, not after them" if follows_activation(norm) else "")


def _norm(module: nn.Module, parts: Parts) -> nn.Module | None:
    """Return a norm for `module`, with the activation that some of timm's norms include; None if it is unknown."""
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
    network: nn.Module, make: Callable[[nn.Module], nn.Module | None], matches: Callable[[nn.Module], bool]
) -> tuple[int, Counter[str]]:
    """Return (number of replaced modules, class -> number of matching modules that could not be replaced)."""
    done, left = 0, Counter[str]()
    places = [(parent, name, child) for parent in network.modules() for name, child in parent.named_children()]
    for parent, name, child in places:
        if not matches(child):
            continue
        other = make(child)
        if other is None:
            left[type(child).__name__] += 1
        else:
            setattr(parent, name, other)
            done += 1
    return done, left


def _functional_acts(network: nn.Module, run: Callable[[], Any]) -> Counter[str]:
    """Return function -> number of calls in a forward pass outside of activation modules."""
    inside = 0
    calls = Counter[str]()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in _FUNCTIONS and not inside:
                calls[f"call of {func.__name__}"] += 1
            return func(*args, **(kwargs or {}))

    def enter(*_: Any) -> None:
        nonlocal inside
        inside += 1

    def leave(*_: Any) -> None:
        nonlocal inside
        inside -= 1

    with _hooks(network, enter, leave), Watch():
        run()
    return calls


@contextmanager
def _hooks(network: nn.Module, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Call `enter` and `leave` around every module without children, to exclude calls inside activation modules."""
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
