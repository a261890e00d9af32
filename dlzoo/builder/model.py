"""Build registry entries as plain torch objects, for notebooks and for runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dlzoo.builder.backbone import load_or_initialise, make_backbone
from dlzoo.builder.parts import Part, check_part, label, make_parts
from dlzoo.config import Config
from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.protocols import notes_of
from dlzoo.core.registries import LOSSES, MODELS, PARTS, REGISTRIES, TASKS


def build(choice: str, name: str, **settings: Any) -> Any:
    """Build an entry of a registry: build("act", "mish") is a module, build("norm", "gn", num_groups=8) a factory.

    A factory is called with the arguments that depend on the place in a network, such as the number of channels.

    Raises:
        UserError: for an unknown choice, name or setting, or a value of the wrong type.
    """
    if choice not in REGISTRIES:
        raise UserError(f"unknown choice {choice!r}; {did_you_mean(str(choice), REGISTRIES)}")
    return REGISTRIES[choice].build(name, **settings)


def build_loss(name: str, **settings: Any) -> nn.Module:
    """Build a loss, called as loss(input, target).

    Raises:
        UserError: as `build`.
    """
    return LOSSES.build(name, **settings)


def build_model(
    name: str,
    *,
    num_classes: int,
    norm: Part = "default",
    act: Part = "default",
    conv: Part = "default",
    attention: Part = "default",
    pool: Part = "default",
    drop: Part = "default",
    head: Part = "default",
    upsample: Part = "default",
    neck: Part = "default",
    backbone: str | Mapping[str, Any] = "default",
    init: Part = "default",
    in_channels: int = 3,
    image_size: int = 224,
    pretrained: bool = False,
    **settings: Any,
) -> nn.Module:
    """Build a network, images (N, in_channels, H, W) -> its outputs, initialised from torch's global generator.

    Args:
        name: a registered model.
        num_classes: size of the output (N, num_classes), or number of object classes.
        norm, ..., init: parts: names, or what `build` returned: norm=dlzoo.build("norm", "gn", num_groups=8).
        backbone: for a model that has one, a name or a mapping with a name and settings.
        in_channels, image_size: of the images; the size decides stems, and the size of fully connected layers.
        pretrained: load torchvision's ImageNet weights.
        settings: of the model, and other arguments that its task injects: softmax_classes (whether an object has
            exactly one class) and sizes (B, 2), widths and heights in pixels of boxes to learn anchors from.

    Raises:
        UserError: as `build`, for a part that the model does not support, and for weights that do not exist.
    """
    chosen = {"norm": norm, "act": act, "conv": conv, "attention": attention, "pool": pool, "drop": drop}
    chosen |= {"head": head, "upsample": upsample, "neck": neck}
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    return _assemble(MODELS[name], chosen, sizes, settings, backbone, init, pretrained=pretrained)


def network_from_config(config: Config, wiring: dict[str, Any]) -> nn.Module:
    """Build the network that a config describes; `wiring` has the injected arguments, such as num_classes."""
    settings = dict(config["model"])
    kinds = (*PARTS, "init", "backbone")
    parts = {kind: "default" if config[kind]["name"] == "default" else config[kind] for kind in kinds}
    return build_model(settings.pop("name"), **wiring, **parts, **settings)


def build_checked(config: Config, wiring: dict[str, Any]) -> nn.Module:
    """Build the network as `network_from_config` does; errors name the model.

    Raises:
        UserError: if it cannot be built.
    """
    try:
        return network_from_config(config, wiring)
    except UserError as error:
        name = f"model={config['model']['name']}"
        raise UserError(str(error) if name in str(error) else f"{name}: {error}") from None


def _assemble(
    entry: Entry,
    chosen: Mapping[str, Part],
    sizes: Mapping[str, int],
    settings: dict[str, Any],
    backbone: str | Mapping[str, Any],
    init: Part,
    *,
    pretrained: bool,
) -> nn.Module:
    """Check what was chosen for a model, build it and initialise it."""
    for word, number in sizes.items():
        if type(number) is not int or number < 1:
            raise UserError(f"{word} must be an integer >= 1, not {number!r}")
    usual = _usual_arguments(entry)
    injected = {key: settings.pop(key) for key in list(settings) if key in usual}
    for key in settings:
        if key not in entry.settings:
            raise UserError(f"model={entry.name} has no setting {key!r}; {did_you_mean(key, entry.settings)}")
    parts = make_parts(entry, chosen)
    wiring: dict[str, Any] = {**sizes, **usual, **{key: value for key, value in injected.items() if value is not None}}
    check_part("init", init)
    has_backbone = backbone != "default" or entry.marks.backbone not in (None, "default")
    if has_backbone and entry.marks.backbone is None:
        raise UserError(f"model={entry.name} does not support backbone={label(backbone)}")
    if has_backbone and pretrained:
        raise UserError(f"model={entry.name} has weights for its backbone only; set backbone.pretrained=true")
    made = make_backbone(entry, backbone, chosen, init, wiring, parts) if has_backbone else None
    wiring["backbone"] = made
    if "pretrained" in entry.settings:
        settings["pretrained"] = pretrained
    network = entry.build(wiring=wiring | {"parts": parts}, **settings)
    parts.refuse_unused(entry.name, notes_of(network))
    # A backbone is initialised, or has its weights, already.
    keep = None if made is None else made.network
    return load_or_initialise(network, entry, init, pretrained=pretrained, norm=chosen["norm"], keep=keep)


def _usual_arguments(entry: Entry) -> dict[str, Any]:
    """Return the default arguments that a model's task injects."""
    return TASKS.build(entry.marks.tasks[0]).usual_arguments(entry.marks)


def supported_parts(name: str, image_size: int = 224, **settings: Any) -> dict[str, list[str]]:
    """Return the parts that a model supports: {"norm": ["bn", "gn", ...], ...}.

    A kind of part that the model only uses with other settings has []. The model is built on the meta device, and the
    kinds of parts that it requests are recorded.

    Raises:
        UserError: as `build_model`.
    """
    entry = MODELS[name]
    # A third-party network's own layers are replaced, to find out whether they can be.
    replacements = {kind: PARTS[kind].names()[0] for kind in PARTS if getattr(entry.marks, kind) == "default"}
    parts = make_parts(entry, replacements)
    wiring: dict[str, Any] = {"num_classes": 10, "in_channels": 3, "image_size": image_size}
    wiring |= {"backbone": None, **_usual_arguments(entry)}
    with torch.device("meta"):
        if entry.marks.backbone not in (None, "default"):
            wiring["backbone"] = make_backbone(entry, "default", replacements, "default", wiring, parts)
        entry.build(wiring=wiring | {"parts": parts}, **settings)
    return {
        kind: [part for part in registry.names() if registry[part].marks.needs in parts.offered.get(kind, ())]
        for kind, registry in PARTS.items()
        if getattr(entry.marks, kind) is not None
    }
