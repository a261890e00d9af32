"""The parts that a model is built with: those that were chosen, or its registered defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from torch import nn

from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError
from dlzoo.core.registries import PARTS
from dlzoo.core.registry import Registry
from dlzoo.core.schema import settings_of, unwrap, wiring_of
from dlzoo.layers.parts import Maker, Parts

#: A part as a caller may specify it: a name, its section of a config, or what `build` returned.
Part = str | Mapping[str, Any] | nn.Module | Callable[..., Any]


def make_parts(entry: Entry, chosen: Mapping[str, Part]) -> Parts:
    """Return the Parts of the model `entry`: of each kind the chosen part, or the registered default.

    Raises:
        UserError: for a part that the model does not support, or an object that is not a part.
    """
    makers, requested = {}, {}
    for kind, registry in PARTS.items():
        part, usual_part = chosen.get(kind, "default"), getattr(entry.marks, kind)
        check_part(kind, part)
        if usual_part is None and part != "default":
            raise UserError(f"model={entry.name} does not support {kind}={label(part)}")
        default = registry.neutral if usual_part is None else usual_part
        if default is None or part == default == "default":
            continue
        usual: dict[str, Any] = {"name": "its own"} if default == "default" else as_section(registry, default)
        if part in ("default", usual["name"]):
            part = usual  # naming the default part selects it with its registered settings
        elif isinstance(part, str | Mapping):
            part = as_section(registry, part)
        makers[kind] = _maker(registry, part)
        if part != usual:
            requested[kind] = _difference(kind, part, usual)
    neutral = {
        kind: _maker(registry, {"name": registry.neutral}).make for kind, registry in PARTS.items() if registry.neutral
    }
    return Parts(makers, neutral, requested)


def as_section(registry: Registry, part: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return a part as a section of a config: its name and all its settings."""
    settings = {"name": part} if isinstance(part, str) else dict(part)
    common = registry.common_settings()
    known = (settings_of(common) if common else {}) | registry[settings["name"]].settings
    return {key: schema["default"] for key, schema in known.items()} | settings


def check_part(kind: str, part: Any) -> None:
    """Check that `part` can be a part.

    Raises:
        UserError: if it is neither a name, nor a mapping with a name, nor callable.
    """
    if not (isinstance(part, str) or callable(part) or (isinstance(part, Mapping) and "name" in part)):
        raise _not_a_part(kind, part)


def _not_a_part(kind: str, part: Any) -> UserError:
    return UserError(f"{kind} must be a name, a mapping with a name, or what dlzoo.build returned, not {part!r}")


def _maker(registry: Registry, part: Mapping[str, Any] | nn.Module | Callable[..., Any]) -> Maker:
    """Return a factory that makes a new instance of the part at each call."""
    common = registry.common_settings()
    if not isinstance(part, Mapping):
        settings = common() if common else None
        return Maker(partial(_instantiate, registry.choice, part), _needs_of(registry, part), settings)
    settings, _ = registry.from_section(part)  # an invalid setting is an error here, not inside the network
    entry = registry[part["name"]]
    own_settings = {name: value for name, value in part.items() if name in entry.settings}
    return Maker(lambda **place: entry.build(wiring=place, **own_settings), entry.marks.needs, settings)


def _needs_of(registry: Registry, part: nn.Module | Callable[..., Any]) -> str:
    """Return what the registry entry behind `part` needs from its place in a network."""
    builder = part.func if isinstance(part, partial) else type(part)
    entries = [registry[name] for name in registry.names()]
    return next((entry.marks.needs for entry in entries if unwrap(entry.builder) is builder), "")


def _instantiate(kind: str, part: nn.Module | Callable[..., Any], **place: Any) -> Any:
    """Copy a module, call a factory of `build` with its injected arguments, or call another callable with the channels.

    Raises:
        UserError: if a factory needs an argument that this place in the network does not provide.
    """
    if isinstance(part, nn.Module):
        return deepcopy(part)
    if isinstance(part, partial):
        wiring = wiring_of(part)
        missing = [name for name in wiring if name not in place]
        if missing:
            raise UserError(f"{kind}={label(part)} needs {missing[0]}, which was not given")
        return part(**{name: place[name] for name in wiring})
    if kind in ("norm", "act", "attention"):
        try:
            instance = part(place["channels"]) if "channels" in place else part()
        except TypeError:
            instance = None
        if isinstance(instance, nn.Module):
            return instance
    raise _not_a_part(kind, part)


def _difference(kind: str, part: Part, usual: Mapping[str, Any]) -> str:
    """Return how a part differs from the default, as a user would type it."""
    if not isinstance(part, Mapping) or part["name"] != usual["name"]:
        return f"{kind}={label(part)}"
    return ", ".join(f"{kind}.{key}={value}" for key, value in part.items() if value != usual.get(key))


def label(part: Part) -> str:
    """Return the name of a part, as a user would type it."""
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return str(part["name"])
    builder = part.func if isinstance(part, partial) else part
    return getattr(builder, "__name__", type(builder).__name__)
