"""The feature maps of classifiers: where they are made, and how a detector gets them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

from dlzoo.layers.head import WithAuxiliary


class Stage(NamedTuple):
    """The last feature map of a network at one stride.

    Attributes:
        name: path of the block, or of the sequence of blocks, whose output it is.
        stride: height and width in pixels of the image for one pixel of the feature map.
        channels: of the feature map.
    """

    name: str
    stride: int
    channels: int


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network that names its feature maps, one for each stride, and can end with any of them.

    Attributes:
        feature_stages: the stages in the order in which they are computed: with few exceptions from fine to coarse.
    """

    feature_stages: list[Stage]

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        """Compute the feature map of one stage after another, as far as the caller iterates.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            For each stage (N, channels, H / stride, W / stride), in the order of `feature_stages`.
        """
        ...

    def remove_after(self, stage: Stage) -> None:
        """Replace by nn.Identity all blocks that come after the feature map of `stage`."""
        ...


@runtime_checkable
class PoolsStages(Protocol):
    """A network that says whether each of its stages but the last ends before a pooling, which has the next stride."""

    pools_stages: bool


class Classifier(nn.Module):
    """Images (N, in_channels, H, W) -> logits (N, num_classes): the parts of the `trunk`, pooling, a linear layer.

    It is a FeatureNetwork whose children stand in the order in which they are called.

    Attributes:
        trunk: names of the children that are applied in sequence; override `features` and `outputs` if they do not
            form a sequence.
        feature_stages: as in FeatureNetwork; the constructor sets it.
        pool: the last feature map -> a vector (N, pool.out_features).
        head: the vector -> the logits.
    """

    trunk: ClassVar[tuple[str, ...]]
    feature_stages: list[Stage]
    pool: Any
    head: nn.Module

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        return self.head(self.pool(self.features(x)))

    def features(self, images: Tensor) -> Tensor:
        """Compute the last feature map."""
        x = images
        for part in self.trunk:
            x = getattr(self, part)(x)
        return x

    def outputs(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Compute what `features` does step by step: (path, output) of each block, and of each sequence at its end."""
        x = images
        for part in self.trunk:
            x = yield from run(part, getattr(self, part), x)

    def feature_maps(self, images: Tensor) -> Iterator[Tensor]:
        names = {stage.name for stage in self.feature_stages}
        return (output for name, output in self.outputs(images) if name in names)

    def remove_after(self, stage: Stage) -> None:
        done = False
        for path, _ in list(blocks(self)):
            inside = path == stage.name or path.startswith(f"{stage.name}.")
            if done and not inside:
                self.set_submodule(path, nn.Identity())
            done = done or inside


def run(path: str, module: nn.Module, x: Tensor) -> Generator[tuple[str, Tensor], None, Tensor]:
    """Apply a module, an nn.Sequential block by block: yield (path, output) of each, return the last output."""
    if type(module) is nn.Sequential:
        for name, child in module.named_children():
            x = yield from run(f"{path}.{name}", child, x)
    else:
        x = module(x)
    yield path, x
    return x


def blocks(network: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (path, block): the children of a network, with sequences and lists replaced by their children."""
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from blocks(child, f"{path}{name}.")
        else:
            yield path + name, child


def last_at_each_stride(stages: Iterable[Stage]) -> list[Stage]:
    """Leave out stages that are followed by another of the same stride."""
    stages = list(stages)
    last = {stage.stride: stage for stage in stages}
    return [stage for stage in stages if stage is last[stage.stride]]
