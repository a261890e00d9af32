"""Classification data sets: images with one class each."""

from __future__ import annotations

from dataclasses import dataclass

from dlzoo.data.data_set import DataSet
from dlzoo.data.split import Split


@dataclass(frozen=True)
class ImageSet(DataSet):
    """Classification data set: images with one class each. Without `val`, validation is split off train."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    val: Split | None = None
    task: str = "classify"
