"""The splits of a run, loaded from the data section of a config."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.index import choose_task
from dlzoo.core.registries import DATASETS, TASKS
from dlzoo.data.data_check import check_splits, check_type
from dlzoo.data.data_set import DataSet
from dlzoo.data.settings import DataSettings
from dlzoo.data.split import Split, fingerprint
from dlzoo.data.storage.cache import fits_memory


@dataclass
class Splits:
    """Train, validation and test splits, with their data set and settings.

    Args:
        source: the data set that they come from.
        batch_size: samples per optimizer step.
        settings: the settings that all data sets share.
        feature_names: names of the features of a table.
        prepare: the preparation of the splits, fitted on train, for other rows of a table; None if it is not known.
    """

    train: Split
    val: Split | None
    test: Split
    source: DataSet
    batch_size: int
    settings: DataSettings = field(default_factory=DataSettings)
    feature_names: tuple[str, ...] = ()
    prepare: Callable[[Split], Split] | None = None

    @classmethod
    def load(cls, section: Mapping[str, Any], tasks: Sequence[str] = ()) -> Splits:
        """Load the data that a section of a config names: an entry, its settings and the common ones.

        Args:
            tasks: the tasks of the model; () for any. They decide the task if the data set serves several.

        Raises:
            UserError: if the data is missing, damaged or too small.
        """
        with _without_collections():
            settings, data_set = DATASETS.from_section({**section, **_choose(section, tasks)}, cache=section["cache"])
        task = TASKS.build(choose_task(section["name"], check_type(section["name"], data_set).task, tasks))
        data_set = task.adapt(section["name"], data_set)
        check_splits(section["name"], data_set, task.target)
        parts = settings.splits(data_set, task.target)
        prepare = data_set.fit_preparation(parts[0])
        parts = tuple(part and prepare(part) for part in parts)
        if fits_memory(settings.cache, sum(part.images.shape.numel() for part in parts if part)):
            train, val, test = (part and part.in_memory() for part in parts)
        else:
            train, val, test = parts
        names = data_set.feature_names(prepare)
        return cls(train, val, test, data_set, settings.global_batch(train), settings, names, prepare)

    @property
    def task(self) -> str:
        """The name of the task that the labels are for."""
        return self.source.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or of the numbers to predict."""
        return self.source.classes

    @property
    def is_table(self) -> bool:
        return self.source.kind == "table"

    @property
    def image_size(self) -> int:
        return self.source.crop or self.train.images.shape[1]

    def eval_batch(self, micro_batch: int) -> int:
        """Return how many images are evaluated at a time.

        Without gradients a batch can be larger than in training; its pixels are limited for large images.

        Args:
            micro_batch: the images of a forward pass in training.
        """
        side = max(part.images.shape[1] for part in (self.val, self.test) if part is not None)
        most = min(512, 2_000_000 // max(side, self.image_size) ** 2)
        return max(1, most if side > self.image_size else max(micro_batch, most))

    @property
    def in_channels(self) -> int:
        return self.train.channels

    @property
    def is_float(self) -> bool:
        """Whether images are float and used as they are; others are uint8."""
        return self.source.is_float

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel, (C,), (C,), for values scaled to 0 to 1."""
        return self.source.statistics(self.train)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.train, self.val, self.test)

    def facts(self) -> dict[str, Any]:
        """Return the fields of run.json that describe the data."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "task": self.task,
            "kind": self.source.kind,
            "data_fingerprint": self.fingerprint,
            "data_sizes": {name: len(part) for name, part in parts.items() if part is not None},
            "image_size": self.image_size,
            "in_channels": self.in_channels,
            "classes": list(self.classes),
            "features": list(self.feature_names),
            **self.source.facts(),
        }


def _choose(section: Mapping[str, Any], tasks: Sequence[str]) -> dict[str, str]:
    """Return the setting `task` of a data set that serves several: the model's `tasks` decide, else it, else the first.

    Raises:
        UserError: if the setting is a task that the model does not support.
    """
    marks = index.marks("data", section["name"])
    if "task" not in section or marks.finds_task:  # the data set itself knows
        return {}
    wanted = section["task"]
    if wanted and tasks and wanted not in tasks:
        raise UserError(f"data.task={wanted} does not fit the model, which is for {' and '.join(tasks)}; leave one of"
                        " them out")  # fmt: skip
    chosen = choose_task(section["name"], wanted or marks.tasks[0], tasks)
    return {"task": chosen if chosen in marks.tasks else marks.tasks[0]}  # a task of another package adapts the first


@contextmanager
def _without_collections() -> Iterator[None]:
    """Suspend garbage collection: each would look at the objects of all files again, of which none is garbage."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
