"""Freezing of a part of a network."""

from __future__ import annotations

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.models.given import GivenNetwork
from dlzoo.optim.settings import units
from dlzoo.tasks.base import TaskSpec


def freeze_modules(network: nn.Module, what: str | int, spec: TaskSpec) -> list[nn.Module]:
    """Freeze the backbone, or the first `what` layers, and return the frozen modules.

    Raises:
        UserError: if nothing would be frozen, or nothing would be left to train.
    """
    if what == "none":
        return []
    network = network.given if isinstance(network, GivenNetwork) else network
    if isinstance(what, int):
        layers = units(network)
        if what >= len(layers):
            raise UserError(
                f"freeze={what} leaves nothing to train: the model has {len(layers)} layer(s); set it lower"
            )
        frozen = layers[:what]
    else:
        frozen = spec.backbone_modules(network)
        if len(frozen) == len(list(network.children())):  # the head of an object may have any name
            raise UserError("freeze=backbone: the model has no child with the name head; set freeze=<number of layers>")
    if not frozen:
        raise UserError("freeze=backbone: the model has no layers before its head; set freeze=none")
    for child in frozen:
        child.requires_grad_(False)
    return frozen
