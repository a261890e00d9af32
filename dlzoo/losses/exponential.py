"""The exponential loss of boosting."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from torch import Tensor, nn

from dlzoo.core.registries import LOSSES
from dlzoo.core.schema import Bounds
from dlzoo.losses.targets import is_binary, one_hot, signs, to_full_precision


@LOSSES.register(
    "exponential",
    source="Friedman et al. 2000, section 4; AdaBoost.MH: Schapire and Singer 1999; SAMME: Zhu et al. 2009",
    targets=("classification",),
)
class Exponential(nn.Module):
    """exp(-y f), y = 1 for the class and -1 for the rest, averaged: logits (N, K, ...), target (N, ...) -> ().

    `form` is one_vs_rest as above, averaged over all scores, or samme: exp(-(f_right - mean of the wrong scores) / K),
    averaged over the samples. samme can approach 0 without separating two classes, if both scores are high and those of
    the many other classes low. For one score per sample both are exp(-y f).

    Beyond `max_exponent` the loss continues linearly with its slope there, so that an outlier cannot overflow; the
    default's slope exp(10) fits half precision.
    """

    def __init__(
        self,
        *,
        form: Literal["one_vs_rest", "samme"] = "one_vs_rest",
        max_exponent: Annotated[float, Bounds(minimum=0, maximum=80)] = 10.0,
    ) -> None:
        super().__init__()
        self.form, self.max_exponent = form, max_exponent

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input = to_full_precision(input)
        if self.form == "one_vs_rest" or is_binary(input, target):
            exponent = -signs(input, target) * input
        else:
            num_classes, rows = input.shape[1], one_hot(input, target)
            codes = rows - (1 - rows) / (num_classes - 1)
            exponent = -(codes * input).sum(1) / num_classes
        beyond = math.exp(self.max_exponent) * (exponent - self.max_exponent).clamp_min(0)
        return (exponent.clamp_max(self.max_exponent).exp() + beyond).mean()
