"""Weights from elsewhere in a detector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.models.backbone import Backbone

State = dict[str, Tensor]


def load_classifier(state: State, backbone: Backbone, origin: str) -> None:
    """Copy a classifier's weights into the backbone of a detector, all but those behind its feature maps.

    Raises:
        UserError: if they are those of another model.
    """
    own = backbone.network.state_dict()
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise UserError(f"{origin}: weights of another model than the backbone: {wrong[0]} does not fit")
    backbone.network.load_state_dict({key: state[key] for key in own})


def keep_anchors(state: State, network: nn.Module, origin: str, *, new_head: bool) -> None:
    """Put the anchors of the network into `state`: anchors are what was asked for, not what weights were learnt with.

    Raises:
        UserError: if the head is taken over, and was trained with others.
    """
    own, theirs = dict(network.named_buffers()).get("anchors"), state.get("anchors")
    if own is None or theirs is None or own.shape != theirs.shape:
        return
    if not new_head and not torch.allclose(own, theirs, rtol=1e-4):
        raise UserError(f"{origin}: its head was trained with other anchors: {theirs.flatten().tolist()}")
    state["anchors"] = own
