"""What a data entry of images with objects in them returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split
from dlzoo.data.transforms.letterbox import Fit


@dataclass(frozen=True)
class BoxSet(DataSet):
    """A detection set as it is published: splits whose labels are boxes.objects. Without `val`, it is cut from train.

    Args:
        fit: how pictures were brought to the square that they are in now.
        skipped: how many pictures were bad and left out.
        difficult: whether objects that are marked difficult are trained on; they are never evaluated.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    fit: Fit = "stretch"
    skipped: int = 0
    difficult: bool = False
    task: str = "detect"

    kind: ClassVar[str] = "boxes"

    def learnt_on(self, train: Split) -> Callable[[Split], Split]:
        """Splits are as they are, but for marks that training is to overlook.

        Validation is cut from train with its marks: only what is trained on loses them.
        """
        if not self.difficult:
            return lambda split: split
        return lambda split: _unmarked(split) if split is train else split

    def facts(self) -> dict[str, Any]:
        return {"fit": self.fit, "skipped": self.skipped}


def _unmarked(split: Split) -> Split:
    labels = split.labels.clone()
    labels[..., 5] = 0
    return replace(split, labels=labels)
