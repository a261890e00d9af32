"""The Oxford-IIIT pet data set's trimaps, in torchvision's layout."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.error import URLError

from torchvision.datasets import OxfordIIITPet

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.core.registries import DATASETS
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.mask_set import MaskSet
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.remember import file_lock
from dlzoo.tasks.segmentation.datasets.mask_coding import Naming, make_coding
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask, read_mask
from dlzoo.tasks.segmentation.datasets.mask_images import Crop, Masks, OnBad, mask_set
from dlzoo.tasks.segmentation.datasets.mask_scan import Found, Pair

_FOLDER = "oxford-iiit-pet"
#: Split -> its list in annotations/.
_LISTS = {"train": "trainval", "test": "test"}
#: Value of a trimap -> class; the border is not classified.
_BACKGROUND, _PET, _BORDER = 0, 1, 2
_VALUES = {1: _PET, 2: _BACKGROUND, 3: _BORDER}
_NAMES = ("background", "pet", "border")


@DATASETS.register(
    "oxford_pets",
    source="Parkhi et al., Cats and Dogs, CVPR 2012",
    model="unet_tiny",
    augment="flip",
    tasks=("segment",),
)
def oxford_pets(
    *,
    cache: Cache,
    root: str = "data",
    download: bool = False,
    image_size: ImageSize | None = 256,
    crop: Crop | None = None,
    border: Literal["ignore", "class"] = "ignore",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> MaskSet:
    """7,349 photos of cats and dogs with masks: background and pet; 3,680 (trainval) to train on

    `root` holds oxford-iiit-pet. The `border` of a pet, which the trimaps do not classify, is ignored, or a third
    class. The longer side of an image is resized to `image_size` pixels; null keeps the sizes. `crop` is the side of
    random windows that are trained on; null trains on whole images.

    Raises:
        UserError: if the folder is missing, or for the first bad image or mask, with its file.
    """
    folder = Path(os.path.expanduser(root))
    base = folder / _FOLDER
    if download and not all(_is_complete(base, part) for part in _LISTS.values()):
        _download(folder)
    if not base.is_dir():
        raise UserError(f"data=oxford_pets: no {_FOLDER} in {root!r}; set data.download=true, or data.root=<folder>")
    parts = {part: _pairs(base, name) for part, name in _LISTS.items()}
    ignore = ("border",) if border == "ignore" else ()
    coding = make_coding(Naming(_NAMES, _VALUES), ignore)
    masks = Masks(parts, lambda samples: coding, base, ["oxford_pets"], source="the trimaps")
    return mask_set(masks, cache=cache, image_size=image_size, crop=crop, on_bad=on_bad, leaks=leaks)


def _download(folder: Path) -> None:
    """Download what is missing. Ranks and runs of a sweep start together: one downloads while the others wait."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / ".lock"):
            if not all(_is_complete(folder / _FOLDER, part) for part in _LISTS.values()):
                OxfordIIITPet(folder, target_types="segmentation", download=True)
    except Exception as error:
        # With a damaged archive, torchvision raises errors of any type.
        if isinstance(error, URLError):
            raise UserError(f"data=oxford_pets: the download failed ({error.reason}); check the network") from error
        raise UserError(f"data=oxford_pets: the copy in {str(folder)!r} is incomplete; delete it and try again"
                        ) from error  # fmt: skip


def _is_complete(base: Path, part: str) -> bool:
    """Return whether every file of a list exists: an archive may have been unpacked only in part."""
    try:
        names = _listed(base, part)
    except UserError:
        return False
    return all(path.is_file() for name in names for path in _files(base, name))


def _listed(base: Path, part: str) -> dict[str, str]:
    """Return the names in a list, whose lines are `name class species breed` -> their places."""
    path = base / "annotations" / f"{part}.txt"
    names: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in names:
            raise UserError(f"{path}, line {number}: {words[0]!r} is listed twice")
        names[words[0]] = f"{path}, line {number}"
    if not names:
        raise UserError(f"{path}: the list is empty")
    return names


def _files(base: Path, name: str) -> tuple[Path, Path]:
    return base / "images" / f"{name}.jpg", base / "annotations" / "trimaps" / f"{name}.png"


def _pairs(base: Path, part: str) -> Found:
    """Return the images of a list with their trimaps."""
    pairs = []
    for name, place in _listed(base, part).items():
        image, mask = _files(base, name)
        pairs.append(Pair(image, mask, partial(_read, place, mask), partial(str, mask)))
    return Found(pairs)


def _read(place: str, path: Path, size: tuple[int, int]) -> StoredMask:
    if not path.is_file():
        raise UserError(f"{place}: trimap not found: {str(path)!r}")
    return read_mask(path, by_colour=False)
