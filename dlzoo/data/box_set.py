"""Detection data sets: images with boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split
from dlzoo.data.transforms.letterbox import Fit


class Source(NamedTuple):
    """The file of an image, and its id in the data set if that has one."""

    file: str
    number: int | None = None


@dataclass(frozen=True)
class BoxSet(DataSet):
    """Detection data set: splits whose labels are boxes.objects. Without `val`, it is split off train.

    Args:
        fit: how images were resized to squares.
        skipped: the number of unreadable images that were left out.
        value_range: the values of 16-bit images that became 0 and 255.
        difficult: whether objects marked difficult are trained on; they are never evaluated.
        sources: the files of the images, where Split.rows counts; () if they are of no file.
        categories: the ids of the classes in the data set; () if it has none.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    fit: Fit = "stretch"
    skipped: int = 0
    value_range: tuple[int, int] | None = None
    difficult: bool = False
    sources: Sequence[Source] = ()
    categories: Sequence[int] = ()
    task: str = "detect"

    kind: ClassVar[str] = "boxes"

    def fit_preparation(self, train: Split) -> Callable[[Split], Split]:
        """Return a function that clears the difficult marks of `train`, if they are to be ignored in training.

        Other splits are not changed: validation keeps the marks, also when it is split off train.
        """
        if not self.difficult:
            return lambda split: split
        return lambda split: _clear_difficult(split) if split is train else split

    def facts(self) -> dict[str, Any]:
        return {"fit": self.fit, "skipped": self.skipped, "value_range": self.value_range}


def _clear_difficult(split: Split) -> Split:
    labels = split.labels.clone()
    labels[..., 5] = 0
    return replace(split, labels=labels)
