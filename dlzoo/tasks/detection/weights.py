"""Loading of weights into detectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlzoo.core.errors import UserError

State = dict[str, Tensor]


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
