"""LeNet-5."""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.layers.conv import ConvNormAct, LinearNormAct
from dlzoo.layers.parts import Parts

#: The paper's images have 28 pixels a side, in a field of 32.
FIELD = 32


def conv_stage(in_channels: int, out_channels: int, size: int, parts: Parts) -> nn.Sequential:
    """Return an unpadded 5x5 convolution and a 2x2 pooling: (N, in, size, size) -> (N, out, (size - 4) / 2, ...)."""
    conv = ConvNormAct(in_channels, out_channels, 5, parts, valid=True, size=size, drop=True)
    return nn.Sequential(conv, parts.pool(out_channels))


def size_after(stage: nn.Module, in_channels: int, size: int) -> int:
    """Return the pixels a side of the maps that `stage` makes, whatever convolution and pooling are in it."""
    return deepcopy(stage).to("meta").eval()(torch.empty(1, in_channels, size, size, device="meta")).shape[-1]


@MODELS.register(
    "lenet",
    source="LeCun et al. 1998, section II.B, with a linear layer at the end and C3 fully connected",
    **{"norm": "none", "act": "tanh", "init": "glorot", "conv": "standard", "pool": "avg", "drop": "none"},
)
class LeNet(nn.Module):
    """Two convolutions with pooling, then linear layers of 120 and 84. Smaller images get a frame of zeros.

    The sizes of its maps are known, so it also takes conv=locally_connected.
    """

    def __init__(self, *, num_classes: int, in_channels: int, image_size: int, parts: Parts) -> None:
        super().__init__()
        side = max(image_size, FIELD)
        self.frame = side - image_size
        self.stage1 = conv_stage(in_channels, 6, side, parts)
        side = size_after(self.stage1, in_channels, side)
        self.stage2 = conv_stage(6, 16, side, parts)
        features = 16 * size_after(self.stage2, 6, side) ** 2
        self.hidden = nn.Sequential(LinearNormAct(features, 120, parts), LinearNormAct(120, 84, parts))
        self.head = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.frame // 2, self.frame - self.frame // 2
        x = F.pad(x, (before, after, before, after))
        return self.head(self.hidden(self.stage2(self.stage1(x)).flatten(1)))
