"""What every entry of the registry DATASETS returns, and what its targets are."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from dlzoo.data.split import Split, channel_statistics


@dataclass(frozen=True)
class TargetKind:
    """What the labels of a task are.

    Args:
        words: what they are, behind "has": "numbers to predict".
        single_class: whether a sample has one class, an int64 number: such data can be split class by class, made
            unbalanced, and given wrong labels.
    """

    words: str
    single_class: bool = False


class DataSet(ABC):
    """A data set as it is published: train and test, and val where it has one; otherwise val is split off train.

    Attributes:
        task: the name of the task that its labels are for.
        kind: of its samples, as run.json says it: "images", "table" or "boxes" (images with boxes).
        classes: names of the classes, or of the numbers to predict.
    """

    kind: ClassVar[str] = "images"
    task: str
    train: Split
    test: Split
    val: Split | None
    classes: tuple[str, ...]

    def learnt_on(self, train: Split) -> Callable[[Split], Split]:
        """Return what prepares any split, fitted on `train` alone. Images stay as they are."""
        return lambda split: split

    def statistics(self, train: Split) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel of the prepared `train`: (C,), (C,), in units of 0 to 1."""
        return channel_statistics(train.images)

    def feature_names(self, prepare: Any) -> tuple[str, ...]:
        """The names of the features that `prepare` makes; images have none."""
        return ()

    @property
    def one_input(self) -> bool:
        """Whether the samples are functions of one number, so that predictions can be drawn as a curve."""
        return False

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data beside sizes and classes."""
        return {}
