"""Reading of files that torch.save wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_intact(path: Path) -> Any:
    """Load a file that torch.save wrote, on the CPU, after comparing the checksums in it.

    torch does not compare them: a file in which one bit was flipped would be loaded as other weights.

    Raises:
        ValueError: if a checksum is wrong.
        Exception: of any type, if torch cannot read the file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)
