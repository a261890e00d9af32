"""The splits that a run works on, loaded from the data section of a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlzoo.data.cache import Cache, in_memory
from dlzoo.data.image_set import Split, fingerprint
from dlzoo.registry import DATASETS


@dataclass
class Splits:
    """Train, validation and test, and what a network has to know of them."""

    train: Split
    val: Split | None
    test: Split
    classes: tuple[str, ...]
    batch_size: int
    cache: Cache = "auto"

    @classmethod
    def load(cls, section: Mapping[str, Any]) -> Splits:
        """The data that a section of a config names: an entry, its knobs and the common settings.

        Raises:
            UserError: if it is missing, damaged or too small.
        """
        settings, images = DATASETS.from_section(section, cache=section["cache"])
        parts = settings.splits(images)
        if in_memory(settings.cache, sum(part.images.shape.numel() for part in parts if part)):
            train, val, test = (part and part.in_memory() for part in parts)
        else:
            train, val, test = parts
        return cls(train, val, test, images.classes, settings.global_batch(train), settings.cache)

    @property
    def image_size(self) -> int:
        return self.train.images.shape[1]

    @property
    def in_channels(self) -> int:
        return self.train.images.shape[3]

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.train, self.val, self.test)

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {
            "data_fingerprint": self.fingerprint,
            "data_sizes": {name: len(part) for name, part in parts.items() if part is not None},
            "image_size": self.image_size,
            "in_channels": self.in_channels,
            "classes": list(self.classes),
        }
