"""The second stage of Faster R-CNN: classification and refinement of proposals."""

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

#: How the features of a box become 7 by 7: RoI align, interpolated (arXiv:1703.06870), or RoI max pooling.
Pooling = Literal["align", "pool"]

#: Side of the pooled features of a box.
SIDE = 7


class RoiHead(nn.Module):
    """Feature maps, fine to coarse, and boxes (S, 4) of N images -> scores (N * S, K) and offsets (N * S, K, 4).

    Each class has its own offsets. A box is pooled from the level that fits its size (arXiv:1612.03144, equation 1).

    Args:
        channels: channels of the feature maps.
        strides: strides of the feature maps, in pixels.
        num_scores: K; background, if it is one of them, has unused offsets, as in torchvision.
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
        self.pool = _make_pool(strides, pooling)
        self.hidden = FullyConnected(channels=channels, size=SIDE, parts=parts, hidden=hidden, drop_rate=drop_rate)
        self.head = nn.ModuleDict()
        for name, outputs, std in (("scores", num_scores, 0.01), ("offsets", 4 * num_scores, 0.001)):
            layer = nn.Linear(self.hidden.out_features, outputs)
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
            self.head[name] = layer

    def forward(
        self, features: Sequence[Tensor], boxes: Sequence[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        if features[0].is_meta:  # the level of a box is unknown without data
            return self._outputs(features[0].new_empty(sum(map(len, boxes)), self.channels, SIDE, SIDE))
        # If the training diverges, boxes are NaN, and torchvision would read outside of the tensor.
        boxes = [each.nan_to_num() for each in boxes]
        if isinstance(self.pool, MultiScaleRoIAlign):
            named = {str(level): values for level, values in enumerate(features)}
            return self._outputs(self.pool(named, boxes, [size] * len(boxes)))
        return self._outputs(self.pool(features[0], boxes))

    def _outputs(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(pooled)
        return self.head["scores"](hidden), self.head["offsets"](hidden).unflatten(1, (self.num_scores, 4))


def _make_pool(strides: Sequence[int], pooling: Pooling) -> nn.Module:
    """Return the module that pools the features of all boxes to 7 by 7.

    Raises:
        UserError: for RoI pooling of a pyramid.
    """
    if pooling == "pool" and len(strides) > 1:
        raise UserError("model.roi=pool takes one feature map: choose model.roi=align, or neck=none")
    if pooling == "pool":
        return RoIPool(SIDE, 1 / strides[0])
    if len(strides) == 1:
        return RoIAlign(SIDE, 1 / strides[0], sampling_ratio=2)
    pool = MultiScaleRoIAlign([str(level) for level in range(len(strides))], SIDE, sampling_ratio=2)
    # By default it infers the strides from the first feature maps, whose sides may have been rounded up.
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = initLevelMapper(int(log2(strides[0])), int(log2(strides[-1])))
    return pool
