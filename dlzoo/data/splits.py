"""The splits that a run works on, loaded from the data section of a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from dlzoo.core.registry import DATASETS
from dlzoo.data.box_set import BoxSet
from dlzoo.data.image_set import ImageSet, Split, channel_statistics, fingerprint
from dlzoo.data.settings import DataSettings
from dlzoo.data.storage.cache import in_memory
from dlzoo.data.transforms.letterbox import Fit


@dataclass
class Splits:
    """Train, validation and test, and what a network has to know of them.

    Args:
        classes: the names of the classes, or of the numbers to predict.
        kind: of what the samples are; "boxes" are images with objects in them.
        settings: how batches are made of them.
        columns: of a table, as it came.
        features: what was made of them, by name.
        fit: how pictures with objects were brought to one size.
        skipped: pictures that were left out, because something was wrong with them.
    """

    train: Split
    val: Split | None
    test: Split
    classes: tuple[str, ...]
    batch_size: int
    kind: Literal["images", "table", "boxes"] = "images"
    settings: DataSettings = field(default_factory=DataSettings)
    columns: int = 0
    features: tuple[str, ...] = ()
    fit: Fit = "stretch"
    skipped: int = 0

    @classmethod
    def load(cls, section: Mapping[str, Any]) -> Splits:
        """The data that a section of a config names: an entry, its knobs and the common settings.

        Raises:
            UserError: if it is missing, damaged or too small.
        """
        settings, found = DATASETS.from_section(section, cache=section["cache"])
        parts = settings.splits(found)
        prepare = found.learnt_on(parts[0])
        parts = tuple(part and prepare(part) for part in parts)
        if in_memory(settings.cache, sum(part.images.shape.numel() for part in parts if part)):
            train, val, test = (part and part.in_memory() for part in parts)
        else:
            train, val, test = parts
        size = settings.global_batch(train)
        if isinstance(found, ImageSet):
            return cls(train, val, test, found.classes, size, "images", settings)
        if isinstance(found, BoxSet):
            about = {"fit": found.fit, "skipped": found.skipped}
            return cls(train, val, test, found.classes, size, "boxes", settings, **about)
        return cls(train, val, test, found.classes, size, "table", settings, len(found.columns), prepare.feature_names)

    @property
    def task(self) -> Literal["classify", "regress", "detect"]:
        """What the labels ask for."""
        if self.kind == "boxes":
            return "detect"
        return "regress" if self.train.labels.is_floating_point() else "classify"

    @property
    def image_size(self) -> int:
        return self.train.images.shape[1]

    @property
    def in_channels(self) -> int:
        return self.train.images.shape[3]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each channel, (C,), in units of 0 to 1; a table is scaled already."""
        if self.kind == "table":
            return torch.zeros(self.in_channels), torch.full((self.in_channels,), 1 / 255)
        return channel_statistics(self.train.images)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.train, self.val, self.test)

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "task": self.task,
            "kind": self.kind,
            "data_fingerprint": self.fingerprint,
            "data_sizes": {name: len(part) for name, part in parts.items() if part is not None},
            "image_size": self.image_size,
            "in_channels": self.in_channels,
            "classes": list(self.classes),
            "features": list(self.features),
            **({"fit": self.fit, "skipped": self.skipped} if self.kind == "boxes" else {}),
        }
