"""Loading of weights into detectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError
from dlzoo.models.backbone import Backbone

State = dict[str, Tensor]


def load_classifier(state: State, backbone: Backbone, origin: str) -> None:
    """Copy a classifier's weights into the backbone of a detector, without those after its feature maps.

    Raises:
        UserError: if they belong to another model.
    """
    expected = backbone.network.state_dict()
    wrong = [key for key, value in expected.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise UserError(f"{origin}: the weights belong to another model than the backbone: {wrong[0]} does not fit")
    backbone.network.load_state_dict({key: state[key] for key in expected})


def keep_anchors(state: State, network: nn.Module, origin: str, *, new_head: bool) -> None:
    """Replace the anchors in `state` by those of the network: the settings decide them, not the weights.

    Raises:
        UserError: if the head's weights are used, and were trained with other anchors.
    """
    ours, theirs = dict(network.named_buffers()).get("anchors"), state.get("anchors")
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return
    if not new_head and not torch.allclose(ours, theirs, rtol=1e-4):
        raise UserError(f"{origin}: its head was trained with other anchors: {theirs.flatten().tolist()}")
    state["anchors"] = ours
