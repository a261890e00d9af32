"""Activation checkpointing: the activations inside blocks are computed again in the backward pass, and not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dlzoo.core.protocols import Stepwise
from dlzoo.core.registries import BACKBONES
from dlzoo.models.feature_maps import FeatureNetwork, blocks


@contextmanager
def recompute_stages(network: nn.Module) -> Iterator[None]:
    """Keep only the inputs of the blocks of a network's stages for the backward pass (arXiv:1604.06174).

    The rest is computed again, one block at a time, with equal random numbers and without a second change of running
    statistics: results do not change. Within the context the forward pass of each block is another; the keys of the
    state dict stay as they are, and without gradients nothing is recomputed.

    Args:
        network: has stages, in itself or in a module of it such as a backbone (models.feature_maps.FeatureNetwork).
    """
    own = {block: vars(block).get("forward") for block in stage_blocks(network)}
    for block in own:
        modules = [module for module in block.modules() if next(module.buffers(recurse=False), None) is not None]
        stepwise: list[nn.Module] = [module for module in block.modules() if isinstance(module, Stepwise)]
        block.forward = partial(_forward, block.forward, modules, stepwise)
    try:
        yield
    finally:
        for block, forward in own.items():
            if forward is None:
                del block.forward  # that of the class again
            else:
                block.forward = forward


def stage_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks of the stages of a network in the order of their calls; none if it has no stages."""
    for module in network.modules():
        if isinstance(module, FeatureNetwork):
            last, inside = module.feature_stages[-1].name, False
            for path, block in blocks(module):  # pyright: ignore[reportArgumentType]
                if inside and not _belongs_to(path, last):
                    break
                inside = _belongs_to(path, last)
                if not isinstance(block, nn.Identity):
                    yield block


def families_with_stages() -> list[str]:
    """Return the families of models that have stages, by the names of their files."""
    builders = [BACKBONES[name].builder for name in BACKBONES.names()]
    modules = {getattr(builder, "func", builder).__module__.rpartition(".")[2] for builder in builders}
    return sorted(modules - {"third_party"})


def _belongs_to(path: str, stage: str) -> bool:
    return path == stage or path.startswith(f"{stage}.")


def _forward(
    forward: Callable[..., Any], modules: list[nn.Module], stepwise: list[nn.Module], *inputs: Any, **keywords: Any
) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs, **keywords)
    contexts = partial(_contexts, modules, stepwise)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **keywords)


def _contexts(
    modules: list[nn.Module], stepwise: list[nn.Module]
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Return the contexts of the forward pass, which begins now, and of its repetition."""
    if not modules and not stepwise:
        return nullcontext(), nullcontext()
    return nullcontext(), _Repetition(modules, stepwise)


class _State:
    """The buffers of modules, and all attributes of modules that follow the steps, at the time of construction."""

    def __init__(self, modules: list[nn.Module], stepwise: list[nn.Module]) -> None:
        self._buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers(recurse=False)]
        self._attributes = [(module, vars(module).copy()) for module in stepwise]

    @torch.no_grad()
    def restore(self) -> None:
        for buffer, value in self._buffers:
            buffer.copy_(value)
        for module, attributes in self._attributes:
            vars(module).update(attributes)


class _Repetition:
    """Context in which modules are as they were before the first pass; afterwards they are as before the context."""

    def __init__(self, modules: list[nn.Module], stepwise: list[nn.Module]) -> None:
        self._modules = modules, stepwise
        self._first = _State(*self._modules)

    def __enter__(self) -> None:
        self._now = _State(*self._modules)
        self._first.restore()

    def __exit__(self, *_: object) -> None:
        self._now.restore()
