"""Softmax regression and the multi-layer perceptron."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from dlzoo.core.registries import MODELS
from dlzoo.core.schema import Sizes
from dlzoo.layers.conv import LinearNormAct
from dlzoo.layers.parts import Parts


@MODELS.register("linear", source="Bishop 2006, sections 3.1 and 4.3.4", init="torch", tables=True, linear=True)
class Linear(nn.Module):
    """Softmax regression, or linear regression: one linear layer on the pixels or on the features of a table."""

    def __init__(self, *, num_classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels * image_size**2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


@MODELS.register(
    "mlp",
    source="Goodfellow et al. 2016, chapter 6",
    tables=True,
    **{"norm": "none", "act": "relu", "drop": "none", "init": "he"},
)
class MLP(nn.Module):
    """Multi-layer perceptron on pixels or features: (linear, norm, act) for each width in `hidden`, then linear."""

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        parts: Parts,
        hidden: Sizes = (256, 256),
    ) -> None:
        super().__init__()
        widths = [in_channels * image_size**2, *hidden]
        self.layers = nn.Sequential(*(LinearNormAct(before, after, parts) for before, after in pairwise(widths)))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.flatten(1)))
