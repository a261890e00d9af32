"""Entries of the zoo as plain torch objects: what a notebook calls, and what the assembly is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.errors import UserError, did_you_mean, first_line
from dlzoo.layers.init import InitSettings, initialise
from dlzoo.layers.parts import Parts
from dlzoo.registry import ACTS, INITS, LOSSES, MODELS, NORMS, REGISTRIES, Registry

#: A part as it may be asked for: its name, its section of a config, or what `build` returned.
Choice = str | Mapping[str, Any] | Callable[..., Any]


def build(choice: str, name: str, **knobs: Any) -> Any:
    """An entry of a registry: build("norm", "gn", num_groups=8) waits for channels, build("act", "mish") is a module.

    Raises:
        UserError: for an unknown choice, name or knob, or a value of the wrong type.
    """
    if choice not in REGISTRIES:
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(choice, REGISTRIES)}")
    return REGISTRIES[choice].build(name, **knobs)


def build_loss(name: str, **knobs: Any) -> nn.Module:
    """A loss, called as loss(input, target).

    Raises:
        UserError: as `build`.
    """
    return LOSSES.build(name, **knobs)


def build_model(
    name: str,
    *,
    num_classes: int,
    norm: Choice = "default",
    act: Choice = "default",
    init: Choice = "default",
    in_channels: int = 3,
    image_size: int = 224,
    **knobs: Any,
) -> nn.Module:
    """A network with weights drawn from torch's global generator: images (N, in_channels, H, W) -> (N, num_classes).

    `image_size` decides the stem of models that have one for small images, and the size of fully connected layers.
    A part is a name, or what `build` returned for one with knobs: norm=dlzoo.build("norm", "gn", num_groups=8).

    Raises:
        UserError: as `build`, and for a part that the model has no place for.
    """
    for word, number in (("num_classes", num_classes), ("in_channels", in_channels), ("image_size", image_size)):
        if not isinstance(number, int) or number < 1:
            raise UserError(f"{word} must be an integer >= 1, not {number!r}")
    entry = MODELS[name]
    asked = {kind: _label(part) for kind, part in (("norm", norm), ("act", act)) if part != "default"}
    parts = Parts(
        _maker(NORMS, norm, entry.meta.get("norm", "none")), _maker(ACTS, act, entry.meta.get("act", "relu")), asked
    )
    wiring = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size, "parts": parts}
    network = entry.build(wiring=wiring, **knobs)
    parts.refuse_unused(name)
    if not next(network.parameters()).is_meta:
        settings = {"zero_last_norm": False} | (dict(init) if isinstance(init, Mapping) else {})
        zero_last_norm = settings.pop("zero_last_norm")
        chosen = settings if isinstance(init, Mapping) else init
        initialise(
            network, _maker(INITS, chosen, entry.meta.get("init", "torch")), InitSettings(zero_last_norm=zero_last_norm)
        )
    return network


def _maker(registry: Registry, part: Choice, default: str) -> Callable[..., Any]:
    """What makes the part: a callable that takes what the entry waits for.

    An activation waits for nothing, and each call makes a new one.
    """
    if callable(part):
        return part
    section: dict[str, Any] = {"name": part} if isinstance(part, str) else dict(part)
    name = section.pop("name")
    entry = registry[default if name == "default" else name]
    entry.build(**section)  # a wrong knob is an error now, not in the middle of a network
    return entry.build(**section) if entry.wiring else partial(entry.build, **section)


def _label(part: Choice) -> str:
    if isinstance(part, str):
        return part
    return str(part["name"]) if isinstance(part, Mapping) else getattr(part, "__name__", type(part).__name__)


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a network in a file: a checkpoint of a run (its averaged weights, if it has them) or a state dict.

    Raises:
        UserError: if the file is not there or holds anything but weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: cannot be read as weights ({first_line(error)})") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no weights of a network")
    for prefix in ("ema.module.", "network."):
        inner = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if inner:
            return inner
    return state


def transfer(state: dict[str, Tensor], network: nn.Module, origin: str, new_head: bool) -> list[str]:
    """Copy weights into `network`; with `new_head`, a head of another size stays as it was drawn.

    Returns:
        the keys that were not taken over.

    Raises:
        UserError: if the weights are those of another model.
    """
    own = network.state_dict()
    left = []
    if new_head:
        left = [
            key for key in own if key.startswith("head.") and (key not in state or state[key].shape != own[key].shape)
        ]
    wrong = [key for key in own if key not in left and (key not in state or state[key].shape != own[key].shape)]
    wrong += [key for key in state if key not in own and not (new_head and key.startswith("head."))]
    if wrong:
        key = wrong[0]
        sizes = [str(tuple(found[key].shape)) if key in found else "absent" for found in (state, own)]
        raise UserError(
            f"{origin}: weights of another model: {len(wrong)} of {len(own)} tensors do not fit, such as {key}"
            f" ({sizes[0]} there, {sizes[1]} here)"
        )
    network.load_state_dict({key: state[key] for key in own if key not in left}, strict=False)
    return left
