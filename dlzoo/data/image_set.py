"""Classification data sets: images with one class each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split


@dataclass(frozen=True)
class ImageSet(DataSet):
    """Classification data set: images with one class each. Without `val`, validation is split off train.

    Args:
        value_range: the values of 16-bit images that became 0 and 255.
        skipped: the number of unreadable images that were left out.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    value_range: tuple[int, int] | None = None
    skipped: int = 0
    task: str = "classify"

    def facts(self) -> dict[str, Any]:
        return {"value_range": self.value_range, "skipped": self.skipped}
