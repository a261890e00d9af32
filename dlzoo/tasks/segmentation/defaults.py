"""The default settings of segmentation, chosen for small images on a CPU."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

#: Settings (key=value) that are defaults where nothing else was chosen.
_SETTINGS = (
    *("data.batch_size=16", "trainer.max_epochs=30"),
    *("optimizer=adamw", "optimizer.lr=0.005", "schedule=one_cycle"),
)


def defaults(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the default settings (key=value) of a segmentation network."""
    return list(_SETTINGS)
