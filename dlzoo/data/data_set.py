"""The base class of data sets, and the kind of their targets."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from dlzoo.data.split import Split, channel_statistics

if TYPE_CHECKING:
    from dlzoo.data.table_set import Column


@dataclass(frozen=True)
class TargetKind:
    """The kind of target of a task.

    Args:
        words: a phrase for messages, after "this data has": "numbers to predict".
        single_class: whether a label is one class, an int64: such data can be split class by class, made imbalanced,
            and given label noise.
    """

    words: str
    single_class: bool = False


class DataSet(ABC):
    """Base class of data sets, with the published splits: train, test, and val if there is one, else None.

    Attributes:
        task: the name of the task that its labels are for.
        kind: the kind of its samples in run.json: "images", "table", "boxes" or "masks" (images with boxes or masks).
        classes: names of the classes, or of the numbers to predict.
        crop: the side in pixels of the windows of images that are trained on; None for whole images.
        is_float: whether images are float and used as they are, without normalisation; others are uint8.
    """

    kind: ClassVar[str] = "images"
    task: str
    train: Split
    test: Split
    val: Split | None
    classes: tuple[str, ...]
    crop: int | None = None

    @property
    def is_float(self) -> bool:
        return False

    def fit_preparation(self, train: Split) -> Callable[[Split], Split]:
        """Return a function that prepares any split, fitted on `train` only. Images are not changed."""
        return lambda split: split

    def statistics(self, train: Split) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel of the prepared `train`: (C,), (C,), for values 0 to 1."""
        return channel_statistics(train.images)

    def feature_names(self, prepare: Any) -> tuple[str, ...]:
        """Return the names of the features that `prepare` makes; images have none."""
        return ()

    def table_columns(self) -> Sequence[Column]:
        """Return the columns of the rows of a table, before they are prepared; images have none."""
        return ()

    @property
    def one_input(self) -> bool:
        """Whether the input is a single number, so that predictions can be plotted as a curve."""
        return False

    def facts(self) -> dict[str, Any]:
        """Return additional fields of run.json, besides sizes and classes."""
        return {}

    def notes(self) -> list[str]:
        """Return notes on the data for the user."""
        return []
