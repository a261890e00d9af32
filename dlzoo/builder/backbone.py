"""Initial weights of a network, and the backbone of a model that has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dlzoo.builder.parts import Part, as_section, label, make_parts
from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError
from dlzoo.core.registries import BACKBONES, INITS, PARTS
from dlzoo.layers.init import InitSettings, initialise
from dlzoo.layers.parts import Parts
from dlzoo.models.backbone import Backbone
from dlzoo.models.pretrained import counterpart_of, load_pretrained


def load_or_initialise(
    network: nn.Module, entry: Entry, init: Part, *, pretrained: bool, norm: Part, keep: nn.Module | None = None
) -> nn.Module:
    """Initialise the network except its module `keep`, or load its pretrained weights, and return it.

    Raises:
        UserError: for weights that do not exist, or an initialisation together with pretrained weights.
    """
    name = entry.name
    loads_torchvision = pretrained and "pretrained" not in entry.settings
    counterpart = counterpart_of(name, _norm_of(entry, norm), entry.marks.torchvision) if loads_torchvision else ""
    if pretrained and init != "default" and not _is_default_init(init, entry):
        raise UserError(f"model={name}: pretrained weights replace the initialisation; leave init out")
    if next(network.parameters()).is_meta:
        return network
    settings, fill = _initialisation(init, _usual_init(entry))
    initialise(network, fill, settings, keep)
    if loads_torchvision:
        network.normalisation = load_pretrained(network, name, counterpart)  # pyright: ignore[reportArgumentType]
    return network


def make_backbone(
    entry: Entry,
    backbone: str | Mapping[str, Any],
    chosen: Mapping[str, Part],
    init: Part,
    wiring: Mapping[str, Any],
    parts: Parts,
) -> Backbone:
    """Build the backbone of the model `entry`: chosen parts are used in both, otherwise the backbone has its defaults.

    For the kinds in a registration's `shared_parts` the model's default is used in both, unless the backbone is a
    network from elsewhere. Parts that the backbone uses count as used by the model.
    """
    backbone = entry.marks.backbone if backbone == "default" else backbone
    settings: dict[str, Any] = {"name": backbone} if isinstance(backbone, str) else dict(backbone)
    inner = BACKBONES[settings.pop("name")]
    pretrained = bool(settings.pop("pretrained", False))
    shared = entry.marks.shared_parts
    inner_choices = {
        kind: part if part != "default" or kind not in shared else getattr(entry.marks, kind)
        for kind, part in chosen.items()
        if getattr(inner.marks, kind) is not None
        and ((kind in shared and getattr(inner.marks, kind) != "default") or not _is_usual(kind, part, entry))
    }
    if "pretrained" in inner.settings:
        settings["pretrained"] = pretrained
    if inner.marks.head is not None and not pretrained:
        inner_choices["head"] = "gap"  # its outputs are not used, and the other heads are large
    inner_parts = make_parts(inner, inner_choices)
    network = inner.build(wiring={**wiring, "num_classes": 1, "parts": inner_parts}, **settings)
    parts.taken |= inner_parts.taken
    for kind, offers in inner_parts.offered.items():
        parts.offered.setdefault(kind, set()).update(offers)
    usual_init = init == "default" or _is_default_init(init, entry)
    norm = inner_choices.get("norm", "default")
    load_or_initialise(network, inner, "default" if usual_init else init, pretrained=pretrained, norm=norm)
    return Backbone(network, in_channels=wiring["in_channels"], image_size=wiring["image_size"])


def _is_usual(kind: str, part: Part, entry: Entry) -> bool:
    """Return whether a part is the model's registered default."""
    registered = getattr(entry.marks, kind)
    usual = PARTS[kind].neutral if registered is None else registered
    if part == "default" or usual is None:
        return part == "default"
    return isinstance(part, str | Mapping) and as_section(PARTS[kind], part) == as_section(PARTS[kind], usual)


def _norm_of(entry: Entry, norm: Part) -> str:
    return label((entry.marks.norm or "none") if norm == "default" else norm)


def _usual_init(entry: Entry) -> Any:
    return entry.marks.init or INITS.fallback


def _is_default_init(init: Part, entry: Entry) -> bool:
    """Return whether a section of a config is the model's registered initialisation."""
    return isinstance(init, Mapping) and dict(init) == as_section(INITS, _usual_init(entry))


def _initialisation(init: Part, default: str) -> tuple[InitSettings, Callable[..., None]]:
    if isinstance(init, str):
        init = {"name": default if init == "default" else init}
    return INITS.from_section(init) if isinstance(init, Mapping) else (InitSettings(), init)
