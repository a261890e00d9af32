"""A network that was given to `dlzoo.train` as an object."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from dlzoo.core.given import given as objects
from dlzoo.core.given import missing
from dlzoo.core.registries import MODELS


class GivenNetwork(nn.Module):
    """A network that was given as an object: images (N, C, H, W) -> its outputs.

    It hides attributes of the object that have a meaning for dlzoo, such as `notes`, and keeps its initial weights.
    `home` is the device that the object was on.
    """

    keeps_init = True

    def __init__(self, given: nn.Module, notes: list[str]) -> None:
        super().__init__()
        self.given, self.notes = given, notes
        self.home = next(given.parameters()).device

    def forward(self, images: torch.Tensor) -> Any:
        return self.given(images)


@MODELS.register("given", source="the program that calls dlzoo.train(model=...)", hidden=True)
def given(*, class_name: str | None = None) -> nn.Module:
    """The network of dlzoo.train(model=...), of the class `class_name`"""
    network = objects().model
    if network is None:
        raise missing("model", class_name)
    name = type(network).__name__
    if torch.get_default_device().type == "meta":
        return GivenNetwork(deepcopy(network).to("meta"), [])
    return GivenNetwork(network, [f"model: {name} is an object: config.yaml cannot rebuild it, and resuming needs it"])
