"""Entries of the zoo as plain torch objects: what a notebook calls, and what the assembly is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dlzoo.errors import UserError, did_you_mean
from dlzoo.knobs import knobs_of, unwrapped, wiring_of
from dlzoo.layers.init import InitSettings, initialise
from dlzoo.layers.parts import Maker, Parts
from dlzoo.losses.detection import is_independent
from dlzoo.models.backbone import Backbone
from dlzoo.models.pretrained import counterpart_of, load_pretrained
from dlzoo.registry import BACKBONES, INITS, LOSSES, MODELS, PARTS, REGISTRIES, Entry, Registry

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
    conv: Choice = "default",
    attention: Choice = "default",
    pool: Choice = "default",
    drop: Choice = "default",
    head: Choice = "default",
    upsample: Choice = "default",
    neck: Choice = "default",
    backbone: str | Mapping[str, Any] = "default",
    init: Choice = "default",
    in_channels: int = 3,
    image_size: int = 224,
    pretrained: bool = False,
    exclusive: bool | None = None,
    sizes: Tensor | None = None,
    **knobs: Any,
) -> nn.Module:
    """A network with weights drawn from torch's global generator: images (N, in_channels, H, W) -> (N, num_classes).

    `image_size` decides the stem of models that have one for small images, and the size of fully connected layers.
    A part is a name, or what `build` returned: norm=dlzoo.build("norm", "gn", num_groups=8). On the meta device no
    weights are drawn. `pretrained` loads what torchvision learnt on ImageNet.

    Of a detector (models.detector.Detector) `backbone` is a classifier, by name or with its knobs; `exclusive` says
    whether an object has one class only (a softmax; null: as the model's usual loss has it); `sizes` (B, 2) are widths
    and heights of boxes, in pixels, that its anchors may be learnt from.

    Raises:
        UserError: as `build`, for a part that the model has no place for, and where there are no such weights.
    """
    for word, number in (("num_classes", num_classes), ("in_channels", in_channels), ("image_size", image_size)):
        if type(number) is not int or number < 1:
            raise UserError(f"{word} must be an integer >= 1, not {number!r}")
    chosen = {"norm": norm, "act": act, "conv": conv, "attention": attention}
    chosen |= {"pool": pool, "drop": drop, "head": head, "upsample": upsample, "neck": neck}
    entry = MODELS[name]
    for knob in knobs:
        if knob not in entry.knobs:
            raise UserError(f"model={name} has no knob {knob!r}; {did_you_mean(knob, entry.knobs)}")
    parts = make_parts(entry, chosen)
    wiring: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    _refuse_odd("init", init)
    if "backbone" in entry.meta:
        wiring |= {"sizes": sizes, "exclusive": _exclusive(entry) if exclusive is None else exclusive}
        if pretrained:
            raise UserError(f"model={name}: there are weights for backbones only: backbone.pretrained=true")
        wiring["backbone"] = _backbone(entry, backbone, chosen, init, wiring, parts)
    elif backbone != "default":
        raise UserError(f"model={name} has no place for backbone={_label(backbone)}")
    if "pretrained" in entry.knobs:
        knobs["pretrained"] = pretrained
    network = entry.build(wiring=wiring | {"parts": parts}, **knobs)
    parts.refuse_unused(name, getattr(network, "remarks", ()))
    if "backbone" in wiring:
        network.normalisation = getattr(wiring["backbone"].network, "normalisation", None)
        network.remarks = getattr(wiring["backbone"].network, "remarks", [])
    return _filled(network, entry, init, pretrained=pretrained, norm=norm)


def _filled(network: nn.Module, entry: Entry, init: Choice, *, pretrained: bool, norm: Choice) -> nn.Module:
    """The network with the weights that it starts with."""
    name = entry.name
    own = pretrained and "pretrained" not in entry.knobs
    counterpart = counterpart_of(name, _norm_of(entry, norm), entry.meta.get("torchvision", {})) if own else ""
    if pretrained and init != "default" and not _is_default_init(init, entry):
        raise UserError(f"model={name}: pretrained weights are an initialisation; leave init out")
    if next(network.parameters()).is_meta:
        return network
    settings, fill = _initialisation(init, entry.meta.get("init", INITS.fallback))
    initialise(network, fill, settings)
    if own:
        network.normalisation = load_pretrained(network, name, counterpart)  # pyright: ignore[reportArgumentType]
    return network


def _exclusive(entry: Entry) -> bool:
    """Whether the usual loss of a detector is a softmax."""
    _, loss = LOSSES.from_section(section(LOSSES, entry.meta["loss"]))
    return not is_independent(loss)


def _backbone(
    entry: Entry,
    backbone: str | Mapping[str, Any],
    chosen: Mapping[str, Choice],
    init: Choice,
    wiring: Mapping[str, Any],
    parts: Parts,
) -> Backbone:
    """The backbone of the detector `entry`: with the parts that were chosen for both, and with its own otherwise.

    A registration's `whole` names kinds that are the same in both also where nobody chose, unless the backbone is from
    elsewhere. What the backbone takes counts as taken by the detector.
    """
    backbone = entry.meta["backbone"] if backbone == "default" else backbone
    knobs: dict[str, Any] = {"name": backbone} if isinstance(backbone, str) else dict(backbone)
    inner = BACKBONES[knobs.pop("name")]
    pretrained = bool(knobs.pop("pretrained", False))
    shared = entry.meta.get("whole", ())
    own = {
        kind: part if part != "default" or kind not in shared else entry.meta[kind]
        for kind, part in chosen.items()
        if kind in inner.meta
        and ((kind in shared and inner.meta[kind] != "default") or not _is_usual(kind, part, entry))
    }
    if "pretrained" in inner.knobs:
        knobs["pretrained"] = pretrained
    if "head" in inner.meta and not pretrained:
        own["head"] = "gap"  # nobody asks it for classes, and the other heads are large
    own_parts = make_parts(inner, own)
    network = inner.build(wiring={**wiring, "num_classes": 1, "parts": own_parts}, **knobs)
    parts.taken |= own_parts.taken
    for kind, offers in own_parts.offered.items():
        parts.offered.setdefault(kind, set()).update(offers)
    usual_init = init == "default" or _is_default_init(init, entry)
    norm = own.get("norm", "default")
    _filled(network, inner, "default" if usual_init else init, pretrained=pretrained, norm=norm)
    network.keeps_init = True  # pyright: ignore[reportAttributeAccessIssue]
    return Backbone(network, in_channels=wiring["in_channels"], image_size=wiring["image_size"])


def _is_usual(kind: str, part: Choice, entry: Entry) -> bool:
    """Whether a part is what the registration of a model says."""
    usual = entry.meta.get(kind, PARTS[kind].neutral)
    if part == "default" or usual is None:
        return part == "default"
    return isinstance(part, str | Mapping) and section(PARTS[kind], part) == section(PARTS[kind], usual)


def _norm_of(entry: Entry, norm: Choice) -> str:
    usual = entry.meta.get("norm", "none")
    return _label(usual if norm == "default" else norm)


def _is_default_init(init: Choice, entry: Entry) -> bool:
    """Whether the section of a config is what the model's registration says."""
    usual = entry.meta.get("init", INITS.fallback)
    return isinstance(init, Mapping) and dict(init) == section(INITS, usual)


def accepts(name: str, image_size: int = 224, **knobs: Any) -> dict[str, list[str]]:
    """What a model takes, as its knobs are set: {"norm": ["bn", "gn", ...], ...}; [] of what it could take otherwise.

    Found out by building it on the meta device and recording what it asks its parts for.

    Raises:
        UserError: as `build_model`.
    """
    entry = MODELS[name]
    # What a network from elsewhere has of its own is replaced, to see whether it can be.
    own = {kind: PARTS[kind].names()[0] for kind in PARTS if entry.meta.get(kind) == "default"}
    parts = make_parts(entry, own)
    wiring: dict[str, Any] = {"num_classes": 10, "in_channels": 3, "image_size": image_size}
    with torch.device("meta"):
        if "backbone" in entry.meta:
            wiring |= {"sizes": None, "exclusive": _exclusive(entry)}
            wiring["backbone"] = _backbone(entry, "default", own, "default", wiring, parts)
        entry.build(wiring=wiring | {"parts": parts}, **knobs)
    return {
        kind: [part for part in registry.names() if registry[part].meta.get("needs", "") in parts.offered.get(kind, ())]
        for kind, registry in PARTS.items()
        if kind in entry.meta
    }


def make_parts(entry: Entry, chosen: Mapping[str, Choice]) -> Parts:
    """What the model `entry` asks for its parts: what was chosen of each kind, or what its registration says.

    Raises:
        UserError: for a part that the model has no place for, or that cannot be one.
    """
    makers, asked = {}, {}
    for kind, registry in PARTS.items():
        part, default = chosen.get(kind, "default"), entry.meta.get(kind, registry.neutral)
        _refuse_odd(kind, part)
        if kind not in entry.meta and part != "default":
            raise UserError(f"model={entry.name} has no place for {kind}={_label(part)}")
        if default is None or part == default == "default":
            continue
        usual: dict[str, Any] = {"name": "its own"} if default == "default" else section(registry, default)
        if part in ("default", usual["name"]):
            part = usual  # also by its name it is as the registration says
        elif isinstance(part, str | Mapping):
            part = section(registry, part)
        makers[kind] = _maker(registry, part)
        if part != usual:
            asked[kind] = _difference(kind, part, usual)
    neutral = {
        kind: _maker(registry, {"name": registry.neutral}).make for kind, registry in PARTS.items() if registry.neutral
    }
    return Parts(makers, neutral, asked)


def section(registry: Registry, part: str | Mapping[str, Any]) -> dict[str, Any]:
    """A part as the section of a config: its name and all its knobs."""
    given = {"name": part} if isinstance(part, str) else dict(part)
    common = registry.common_settings()
    known = (knobs_of(common) if common else {}) | registry[given["name"]].knobs
    return {key: schema["default"] for key, schema in known.items()} | given


def _refuse_odd(kind: str, part: Any) -> None:
    if not (isinstance(part, str) or callable(part) or (isinstance(part, Mapping) and "name" in part)):
        raise UserError(f"{kind} must be a name, a mapping with a name, or what dlzoo.build returned, not {part!r}")


def _initialisation(init: Choice, default: str) -> tuple[InitSettings, Callable[..., None]]:
    if isinstance(init, str):
        init = {"name": default if init == "default" else init}
    return INITS.from_section(init) if isinstance(init, Mapping) else (InitSettings(), init)


def _maker(registry: Registry, part: Mapping[str, Any] | nn.Module | Callable[..., Any]) -> Maker:
    """What makes the part, anew at each call."""
    common = registry.common_settings()
    if not isinstance(part, Mapping):
        settings = common() if common else None
        return Maker(partial(_make_given, registry.choice, part), _needs_of(registry, part), settings)
    settings, _ = registry.from_section(part)  # a wrong knob is an error now, not in the middle of a network
    entry = registry[part["name"]]
    knobs = {name: value for name, value in part.items() if name in entry.knobs}
    return Maker(lambda **place: entry.build(wiring=place, **knobs), entry.meta.get("needs", ""), settings)


def _needs_of(registry: Registry, part: nn.Module | Callable[..., Any]) -> str:
    """What the entry needs of a place that `build` made the part from."""
    made = part.func if isinstance(part, partial) else type(part)
    entries = [registry[name] for name in registry.names()]
    return next((entry.meta.get("needs", "") for entry in entries if unwrapped(entry.builder) is made), "")


def _make_given(kind: str, part: nn.Module | Callable[..., Any], **place: Any) -> Any:
    """A copy of a module; what `build` returned, called with what it waits for; any other callable, with the channels.

    Raises:
        UserError: if it waits for something that the place does not say.
    """
    if isinstance(part, nn.Module):
        return deepcopy(part)
    if isinstance(part, partial):
        wiring = wiring_of(part)
        missing = [name for name in wiring if name not in place]
        if missing:
            raise UserError(f"{kind}={_label(part)} waits for {missing[0]}, which nobody says here")
        return part(**{name: place[name] for name in wiring})
    if kind in ("norm", "act", "attention"):
        try:
            made = part(place["channels"]) if "channels" in place else part()
        except TypeError:
            made = None
        if isinstance(made, nn.Module):
            return made
    raise UserError(f"{kind} must be a name, a mapping with a name, or what dlzoo.build returned, not {part!r}")


def _difference(kind: str, part: Choice, usual: Mapping[str, Any]) -> str:
    """What was asked for, in the words of an override."""
    if not isinstance(part, Mapping) or part["name"] != usual["name"]:
        return f"{kind}={_label(part)}"
    return ", ".join(f"{kind}.{key}={value}" for key, value in part.items() if value != usual.get(key))


def _label(part: Choice) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        return str(part["name"])
    made = part.func if isinstance(part, partial) else part
    return getattr(made, "__name__", type(made).__name__)
