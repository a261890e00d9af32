"""Entries of the zoo as plain torch objects: what a notebook calls, and what the assembly is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from torch import nn

from dlzoo.errors import UserError, did_you_mean
from dlzoo.layers.init import InitSettings, initialise
from dlzoo.layers.parts import Parts
from dlzoo.registry import ACTS, INITS, LOSSES, MODELS, NORMS, REGISTRIES, Registry

#: A part as it may be asked for: its name, its section of a config, or what `build` returned for it.
Choice = str | Mapping[str, Any] | nn.Module | Callable[..., Any]


def build(choice: str, name: str, **knobs: Any) -> Any:
    """An entry of a registry: build("norm", "gn", num_groups=8) waits for channels, build("act", "mish") is a module.

    Raises:
        UserError: for an unknown choice, name or knob, or a value of the wrong type.
    """
    if choice not in REGISTRIES:
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(str(choice), REGISTRIES)}")
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
    A part is a name, or what `build` returned: norm=dlzoo.build("norm", "gn", num_groups=8). On the meta device no
    weights are drawn.

    Raises:
        UserError: as `build`, and for a part that the model has no place for.
    """
    for word, number in (("num_classes", num_classes), ("in_channels", in_channels), ("image_size", image_size)):
        if type(number) is not int or number < 1:
            raise UserError(f"{word} must be an integer >= 1, not {number!r}")
    entry = MODELS[name]
    for kind, part in (("norm", norm), ("act", act), ("init", init)):
        if not (isinstance(part, str) or callable(part) or (isinstance(part, Mapping) and "name" in part)):
            raise UserError(f"{kind} must be a name, a mapping with a name, or what dlzoo.build returned, not {part!r}")
    chosen = {"norm": norm, "act": act}
    for kind, part in chosen.items():
        if kind not in entry.meta and part != "default":
            raise UserError(f"model={name} has no place for {kind}={_label(part)}")
    makers = {
        kind: _maker(registry, chosen[kind], entry.meta[kind])
        for kind, registry in (("norm", NORMS), ("act", ACTS))
        if kind in entry.meta
    }
    asked = {
        kind: _label(part) for kind, part in chosen.items() if _label(part) not in ("default", entry.meta.get(kind))
    }
    parts = Parts(makers, asked)
    wiring = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size, "parts": parts}
    for knob in knobs:
        if knob not in entry.knobs:
            raise UserError(f"model={name} has no knob {knob!r}; {did_you_mean(knob, entry.knobs)}")
    network = entry.build(wiring=wiring, **knobs)
    parts.refuse_unused(name)
    if not next(network.parameters()).is_meta:
        settings, fill = _initialisation(init, entry.meta.get("init", INITS.fallback))
        initialise(network, fill, settings)
    return network


def _initialisation(init: Choice, default: str) -> tuple[InitSettings, Callable[..., None]]:
    if isinstance(init, str):
        init = {"name": default if init == "default" else init}
    return INITS.from_section(init) if isinstance(init, Mapping) else (InitSettings(), init)


def _maker(registry: Registry, part: Choice, default: str) -> Callable[..., Any]:
    """What makes the part, anew at each call: channels -> norm, () -> activation."""
    if isinstance(part, nn.Module):
        return partial(deepcopy, part)
    if isinstance(part, str):
        part = {"name": default if part == "default" else part}
    if not isinstance(part, Mapping):
        return part
    entry, knobs = registry[part["name"]], {name: value for name, value in part.items() if name != "name"}
    entry.build(**knobs)  # a wrong knob is an error now, not in the middle of a network
    return entry.build(**knobs) if entry.wiring else partial(entry.build, **knobs)


def _label(part: Choice) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return str(part["name"])
    made = part.func if isinstance(part, partial) else part
    return getattr(made, "__name__", type(made).__name__)
