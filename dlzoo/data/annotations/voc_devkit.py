"""PASCAL VOC's classes, and its development kit in torchvision's layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.error import URLError

from dlzoo.core.errors import UserError
from dlzoo.data.storage.remember import file_lock

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def find_devkit(folder: Path, years: set[str]) -> Path | None:
    """Return the folder that holds VOC<year> of all `years`; `folder` may be the VOC<year> folder of a single year."""
    inside = folder.resolve()
    holders = [
        folder / "VOCdevkit",
        folder,
        *([inside.parent] if {inside.name} == {f"VOC{year}" for year in years} else []),
    ]
    return next((one for one in holders if all((one / f"VOC{year}").is_dir() for year in years)), None)


def download_voc(
    name: str,
    folder: Path,
    lists: Iterable[tuple[str, str]],
    is_complete: Callable[[Path, str], bool],
    fetch: Callable[..., object],
) -> None:
    """Download what is missing. Ranks and runs of a sweep start together: one downloads while the others wait.

    Args:
        name: the data set, for errors.
        lists: the years and the lists of images.
        is_complete: (folder VOC<year>, list) -> whether every file of the list exists.
        fetch: torchvision's data set.

    Raises:
        UserError: if the download fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / ".lock"):
            for year, part in lists:
                devkit = find_devkit(folder, {year})
                if devkit is None or not is_complete(devkit / f"VOC{year}", part):
                    fetch(folder, year=year, image_set=part, download=True)
    except Exception as error:
        # With a damaged archive, torchvision raises errors of any type.
        if isinstance(error, URLError):
            raise UserError(f"data={name}: the download failed ({error.reason}); check the network") from error
        raise UserError(f"data={name}: the copy in {str(folder)!r} is incomplete; delete it and try again") from error
