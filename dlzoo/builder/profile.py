"""Parameters, multiply-accumulates and memory of a network, counted on the meta device."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from dlzoo.builder.given import check_outputs
from dlzoo.builder.model import build_checked
from dlzoo.config import Config
from dlzoo.core import own_parts
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.given import OBJECT, given
from dlzoo.core.protocols import TakesBorder
from dlzoo.core.registries import PARTS
from dlzoo.core.rng import keeping_generators
from dlzoo.models.meta import ShapesOnly
from dlzoo.models.recompute import stage_blocks

#: Copies of the parameters in a training: themselves, their gradients, and two moments of an optimizer.
_COPIES = 4


class Profile(NamedTuple):
    """Size and cost of a network in training.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulates of one image.
        fixed, activations: bytes of the parameters with what an optimizer keeps, and of the activations of a batch.
        checkpointed: bytes of the activations with trainer.checkpoint_activations: all but those inside the blocks of
            the stages, and those of one such block; None if the network has no stages.
    """

    params: int
    macs: int
    fixed: int
    activations: int
    checkpointed: int | None = None


def count_params_and_macs(config: Config, wiring: dict[str, Any], batch_size: int) -> tuple[int, int]:
    """Return (parameters, multiply-accumulates of one image), as `profile_training`."""
    return profile_training(config, wiring, batch_size)[:2]


def profile_training(config: Config, wiring: dict[str, Any], batch_size: int) -> Profile:
    """Return the size and cost of a network, from a training forward pass on the meta device.

    Raises:
        UserError: if the network does not accept images of this size, or this batch size.
    """
    about = {section: config[section] for section in ("model", *PARTS, "init", "backbone")}
    if config["model"]["name"] == OBJECT:  # which may change: not cached
        return _profile_object(config, wiring, batch_size)
    return _profile_training(json.dumps(about), tuple(wiring.items()), batch_size)


class _CountOutputs(TorchDispatchMode):
    """Add up the bytes of the outputs of operations, most of which are kept for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if not any(each.alias_info for each in func._schema.returns):  # a view, or in place
            outputs = output if isinstance(output, (tuple, list)) else [output]
            self.bytes += sum(each.nbytes for each in outputs if isinstance(each, torch.Tensor))
        return output


class _CountInside:
    """Context that follows the bytes that `outputs` counts inside the blocks of the stages of a network.

    Attributes:
        inside: bytes of each block.
        kept: bytes of the outputs of all blocks.
    """

    def __init__(self, network: nn.Module, outputs: _CountOutputs) -> None:
        self._network, self._outputs, self._starts = network, outputs, list[int]()
        self.inside, self.kept = list[int](), 0

    def __enter__(self) -> _CountInside:
        found = list(stage_blocks(self._network))
        self._hooks = [block.register_forward_pre_hook(self._begin) for block in found]
        self._hooks += [block.register_forward_hook(self._end) for block in found]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _begin(self, *_: Any) -> None:
        self._starts.append(self._outputs.bytes)

    def _end(self, _block: nn.Module, _inputs: Any, result: Any) -> None:
        self.inside.append(self._outputs.bytes - self._starts.pop())
        self.kept += sum(each.nbytes for each in tree_leaves(result) if isinstance(each, torch.Tensor))

    def checkpointed(self) -> int | None:
        """Return `Profile.checkpointed`."""
        return self._outputs.bytes - sum(self.inside) + self.kept + max(self.inside) if self.inside else None


@own_parts.cached  # a sweep has many runs with few networks
def _profile_training(about: str, wired: tuple[tuple[str, int], ...], batch_size: int) -> Profile:
    config, wiring = json.loads(about), dict(wired)
    with torch.device("meta"):
        return _profile(build_checked(config, wiring).train(), config, wiring, batch_size)


def _profile_object(config: Config, wiring: dict[str, Any], batch_size: int) -> Profile:
    """Return the size and cost of a given network: on the CPU, if it does not work on the meta device."""
    with keeping_generators():
        try:
            with torch.device("meta"):
                network = build_checked(config, wiring).train()
                return _profile(network, config, wiring, batch_size)
        except Exception:  # of a user's code
            network = deepcopy(build_checked(config, wiring)).cpu().train()
            return _profile(network, config, wiring, batch_size)


def _profile(network: nn.Module, config: Config, wiring: dict[str, Any], batch_size: int) -> Profile:
    """Measure a forward pass of a network, on the default device.

    Raises:
        UserError: if it fails.
    """
    counter, outputs = FlopCounterMode(display=False), _CountOutputs()
    name, failures = config["model"]["name"], (RuntimeError, ValueError)  # ValueError: batch norm of one value
    model, owner = f"model={name}", network
    if name == OBJECT and (found := given().model) is not None:
        model, failures, owner = f"model: {type(found).__name__}", (Exception,), found
    where = f"{model} cannot train on {batch_size} image(s) of {wiring['image_size']} px"
    try:
        side = wiring["image_size"] + (2 * network.margin if isinstance(network, TakesBorder) else 0)
        images = torch.empty(batch_size, wiring["in_channels"], side, side)
        with counter, ShapesOnly(), outputs, _CountInside(network, outputs) as blocks, torch.no_grad():
            output = network(images)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except failures as error:
        raise UserError(f"{where}: {own_parts.describe_error(error) or first_line(error)}") from error
    check_outputs(network, output, batch_size, wiring["num_classes"])
    fixed = _COPIES * sum(parameter.nbytes for parameter in owner.parameters())
    params = sum(parameter.numel() for parameter in owner.parameters())
    # torch counts two floating-point operations for a multiply-accumulate.
    macs = counter.get_total_flops() // 2 // batch_size
    return Profile(params, macs, fixed, outputs.bytes, blocks.checkpointed())
