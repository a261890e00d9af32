"""A parts file of a user's own: a norm, a loss, a model, a data set, a hook."""

MINE = '''\
"""My parts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dlzoo
from dlzoo import ImageSet, Parts, Split


class RMSNorm(nn.Module):
    """Divide each position by the root mean square over the channels."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.scale, self.eps = nn.Parameter(torch.ones(channels)), eps

    def forward(self, maps: Tensor) -> Tensor:
        return maps * torch.rsqrt(maps.pow(2).mean(1, keepdim=True) + self.eps) * self.scale[:, None, None]


@dlzoo.NORMS.register("rms", source="arXiv:1910.07467")
def rms(*, channels: int, eps: float = 1e-6) -> nn.Module:
    """Root mean square norm."""
    return RMSNorm(channels, eps)


@dlzoo.LOSSES.register("sharp")
class Sharp(nn.Module):
    """Cross-entropy of logits multiplied by `factor`."""

    def __init__(self, *, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(self.factor * logits, target)


@dlzoo.MODELS.register("two_layers", norm="bn", act="relu", drop="none")
def two_layers(*, num_classes: int, in_channels: int, parts: Parts, width: int = 8) -> nn.Module:
    """Two convolutions and a classifier."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False), parts.norm(width), parts.act(),
        nn.Conv2d(width, width, 3, stride=2, bias=False), parts.norm(width), parts.act(),
        parts.drop(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
    )


@dlzoo.DATASETS.register("stripes")
def stripes(*, count: int = 96) -> ImageSet:
    """Horizontal and vertical stripes."""
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 128, (2 * count, 8, 8, 1), generator=numbers, dtype=torch.uint8)
    labels = torch.arange(2 * count) % 2
    images[labels == 0, ::2] += 100
    images[labels == 1, :, ::2] += 100
    return ImageSet(Split(images[:count], labels[:count]), Split(images[count:], labels[count:]), ("rows", "columns"))


@dlzoo.HOOKS.register("steps")
class Steps(dlzoo.Hook):
    """Write the step of each record to a file in the run directory."""

    def __init__(self, *, run_dir: Path, file: str = "steps.txt") -> None:
        self.path = run_dir / file

    def log(self, record: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{record['step']}\\n")
'''

#: A small run that uses all of them.
WORDS = [
    *("data=stripes", "model=two_layers", "norm=rms", "loss=sharp", "data.batch_size=16", "trainer.max_epochs=3"),
    *("trainer=cpu", "drop=dropout", "augment=none", "data.val_fraction=0.25"),
    *("hooks=[tensorboard,steps]", "hook.steps.file=mine.txt"),
]
