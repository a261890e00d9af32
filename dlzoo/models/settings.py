"""Settings that go with every model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSettings:
    """`pretrained`: start from the weights that torchvision (or timm) learnt on ImageNet, where there are some."""

    pretrained: bool = False
