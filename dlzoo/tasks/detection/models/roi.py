"""The second stage of Faster R-CNN: what is inside a box, and where its borders should be."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Literal

from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, RoIAlign, RoIPool
from torchvision.ops.poolers import initLevelMapper

from dlzoo.core.errors import UserError
from dlzoo.layers.head import FullyConnected
from dlzoo.layers.parts import Parts

#: How the pixels of a box become 7 by 7: interpolated (arXiv:1703.06870), or the largest of each part.
Pooling = Literal["align", "pool"]

#: Pixels a side of what is inside a box, whatever its size.
SIDE = 7


class RoiHead(nn.Module):
    """Maps, fine to coarse, and boxes (S, 4) of each of N images -> scores (N * S, K) and offsets (N * S, K, 4).

    The offsets are each class's own. A box looks at the map that fits its size (arXiv:1612.03144, equation 1).

    Args:
        channels: of the maps.
        strides: of the maps, in pixels.
        num_scores: K; background, where it is one of them, has offsets that nobody looks at, as in torchvision.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int],
        parts: Parts,
        *,
        num_scores: int,
        pooling: Pooling,
        hidden: tuple[int, ...],
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.channels, self.num_scores = channels, num_scores
        self.pool = _pool(strides, pooling)
        self.hidden = FullyConnected(channels=channels, size=SIDE, parts=parts, hidden=hidden, drop_rate=drop_rate)
        self.head = nn.ModuleDict()
        for name, outputs, std in (("scores", num_scores, 0.01), ("offsets", 4 * num_scores, 0.001)):
            layer = nn.Linear(self.hidden.out_features, outputs)
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
            self.head[name] = layer

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        if maps[0].is_meta:  # nobody can say which map a box looks at
            features = maps[0].new_empty(sum(map(len, boxes)), self.channels, SIDE, SIDE)
            return self._outputs(features)
        # When the weights are lost boxes are no numbers, and torchvision would look for pixels out of the memory.
        boxes = [each.nan_to_num() for each in boxes]
        if isinstance(self.pool, MultiScaleRoIAlign):
            named = {str(level): values for level, values in enumerate(maps)}
            features = self.pool(named, boxes, [size] * len(boxes))
        else:
            features = self.pool(maps[0], boxes)
        return self._outputs(features)

    def _outputs(self, features: Tensor) -> tuple[Tensor, Tensor]:
        features = self.hidden(features)
        return self.head["scores"](features), self.head["offsets"](features).unflatten(1, (self.num_scores, 4))


def _pool(strides: Sequence[int], pooling: Pooling) -> nn.Module:
    """What makes all boxes 7 by 7.

    Raises:
        UserError: for RoI pooling of a pyramid.
    """
    if pooling == "pool" and len(strides) > 1:
        raise UserError("model.roi=pool takes one map: choose model.roi=align, or neck=none")
    if pooling == "pool":
        return RoIPool(SIDE, 1 / strides[0])
    if len(strides) == 1:
        return RoIAlign(SIDE, 1 / strides[0], sampling_ratio=2)
    pool = MultiScaleRoIAlign([str(level) for level in range(len(strides))], SIDE, sampling_ratio=2)
    # Left to itself it guesses the strides from the first maps that it sees, whose sides may have been rounded up.
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(int(log2(strides[0])), int(log2(strides[-1])))
    return pool
