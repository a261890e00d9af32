"""A request for predictions by the network of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from dlzoo.config import Config
from dlzoo.data.storage.image_file import DEFAULT_CONVERSION, Conversion
from dlzoo.data.transforms.batch import Normalise


@dataclass(frozen=True)
class Prediction:
    """A request for predictions by the network of a run.

    Args:
        path: the run directory.
        config, record: its frozen config and the content of its run.json.
        network: the trained network in evaluation mode.
        normalise: uint8 images -> the network's input.
        files: image files.
        most: the largest number of results for a file.
        out: a folder for the drawn images; None for the run's own.
        full_size: whether drawn images keep a size above 4 megapixels.
    """

    path: Path
    config: Config
    record: dict[str, Any]
    network: nn.Module
    normalise: Normalise
    files: Sequence[str]
    most: int = 5
    out: str | None = None
    full_size: bool = False

    @property
    def conversion(self) -> Conversion:
        """How transparent and 16-bit images are read: as those that the network was trained on."""
        background = self.config["data"].get("background", DEFAULT_CONVERSION.background)
        low, high = self.record.get("value_range") or DEFAULT_CONVERSION.value_range
        return Conversion(background, (low, high))
