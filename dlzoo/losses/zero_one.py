"""Zero-one loss, for which the other classification losses are surrogates."""

from __future__ import annotations

from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Positive
from dlzoo.losses.targets import class_indices, is_binary, score_targets, to_full_precision


@LOSSES.register(
    "zero_one",
    source="Hastie et al. 2009, section 2.4",
    targets=("classification", "regression"),
    learns=False,
)
class ZeroOne(nn.Module):
    """1 if the prediction is wrong, else 0: logits (N, K, ...), target (N, ...) -> (), the error rate.

    The prediction is the class of the largest logit, or 1 for a single score above 0. A number is wrong if
    |y - f| >= tolerance. The gradient is zero everywhere, so no model can be trained with this loss.
    """

    def __init__(self, *, tolerance: Positive = 0.5) -> None:
        super().__init__()
        self.tolerance = tolerance

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        if target.is_floating_point():
            wrong = (score_targets(input, target) - input).abs() >= self.tolerance
        elif is_binary(input, target):
            wrong = (input > 0) != (target > 0)
        else:
            wrong = input.argmax(1) != class_indices(input, target)
        # Adds zero with a gradient of zero, so that backward works; sign is finite for every input.
        return wrong.to(input.dtype).mean() + 0 * input.sign().mean()
