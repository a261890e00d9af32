"""Load weights that another program saved into a network of ours, or into the backbone of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from dlzoo.builder.model import build_model
from dlzoo.config import Config
from dlzoo.core.registries import BACKBONES
from dlzoo.layers.head import is_head_key
from dlzoo.models.backbone import OnBackbone
from dlzoo.models.pretrained import Normalisation, usual_normalisation
from dlzoo.models.third_party import ThirdParty
from dlzoo.weights.files import read_facts
from dlzoo.weights.match import Match, by_name
from dlzoo.weights.unwrap import find_state


class Loaded(NamedTuple):
    """What was loaded: how it fits, and the mean and the deviation of a channel that the weights expect, if known."""

    match: Match
    normalisation: Normalisation | None


def load_foreign(content: Any, path: Path, network: nn.Module, config: Config, classes: Sequence[str]) -> Loaded:
    """Load the weights in the content of a file or folder into the network, or into its backbone if it has one.

    The head is loaded too if it has the shape of the network's, unless the file names other classes.

    Raises:
        UserError: if there are no weights, or those of another model.
    """
    name = config["model"]["name"]
    if isinstance(network, OnBackbone):
        network, name = network.backbone.network, config["backbone"]["name"]
    state, facts = find_state(content, path), read_facts(path, content)
    match = by_name(state, network, foreign_names(network, name), f"init_from={path}")
    if facts.get("classes", list(classes)) != list(classes):
        heads = [key for key in match.taken if is_head_key(key)]
        match.new.extend(heads)
        for key in heads:
            del match.taken[key]
    network.load_state_dict(match.taken, strict=False)
    known = (facts["mean"], facts["std"]) if {"mean", "std"} <= facts.keys() else _normalisation(network, name)
    return Loaded(match, known)


def foreign_names(network: nn.Module, name: str) -> dict[str, str]:
    """Return the names that torchvision or timm have for the tensors of a network -> those that it has itself.

    Args:
        network: ours.
        name: of its entry; its counterpart has the same tensors in the same order.
    """
    if isinstance(network, ThirdParty):
        body = {key.removeprefix("body."): key for key in network.state_dict() if key.startswith("body.")}
        return body | {f"{network.head_path}.{key}": f"head.{key}" for key in network.head.state_dict()}
    keys = network.state_dict().keys()
    counterparts = [_counterpart(name, *each) for each in BACKBONES[name].marks.torchvision.items()]
    return max(counterparts, key=lambda names: len(keys & set(names.values())), default={})


def _counterpart(name: str, norm: str, counterpart: str) -> dict[str, str]:
    """Return the names of torchvision's model -> those of ours with the norm that it has."""
    with torch.device("meta"):
        ours = build_model(name, num_classes=1000, norm=norm).state_dict()
        theirs = _of_torchvision(counterpart).state_dict()
    if not any(key.startswith("aux") for key in ours):
        theirs = {key: value for key, value in theirs.items() if not key.startswith("aux")}
    return dict(zip(theirs, ours, strict=True))


def _of_torchvision(name: str) -> nn.Module:
    import torchvision.models as zoo

    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return zoo.get_model(name, weights=None, **settings)


def _normalisation(network: nn.Module, name: str) -> Normalisation | None:
    """Return the normalisation of the weights that are usual for a network; None if there are none."""
    if isinstance(network, ThirdParty):
        return network.usual_normalisation
    return usual_normalisation(name) if BACKBONES[name].marks.torchvision else None
