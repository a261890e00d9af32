"""PASCAL VOC 2012's masks, in torchvision's layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torchvision.datasets import VOCSegmentation

from dlzoo.core.errors import UserError
from dlzoo.core.files import regular
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.text_file import read_list
from dlzoo.data.annotations.voc_devkit import CLASSES, download_voc, find_devkit
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.mask_set import MaskSet
from dlzoo.data.storage.cache import Cache
from dlzoo.tasks.segmentation.datasets.mask_coding import Coding, Naming, colours_of, make_coding
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask, palette_of, read_mask
from dlzoo.tasks.segmentation.datasets.mask_images import Crop, Masks, OnBad, Sample, mask_set
from dlzoo.tasks.segmentation.datasets.mask_scan import Found, Pair

_YEAR = "2012"
_NAMES = ("background", *CLASSES)
#: Split -> its list in ImageSets/Segmentation.
_LISTS = {"train": "train", "test": "val"}


@DATASETS.register(
    "voc2012_seg",
    source="Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010",
    model="unet_tiny",
    augment="flip",
    tasks=("segment",),
)
def voc2012_seg(
    *,
    cache: Cache,
    root: str = "data",
    download: bool = False,
    image_size: ImageSize | None = None,
    crop: Crop | None = 320,
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> MaskSet:
    """2,913 photos with masks of 20 classes and the background; 1,464 (train) to train on, and val to test

    The test split is not published. `root` holds VOCdevkit/VOC2012 or VOC2012. The borders of objects, 255 in the
    masks, are ignored. `crop` is the side of the random windows that are trained on, `image_size` the longer side of
    resized images; null for whole images, and for images as they are.

    Raises:
        UserError: if the folder is missing, or for the first bad image or mask, with its file.
    """
    folder = Path(os.path.expanduser(root))
    if download:
        wanted = [(_YEAR, part) for part in _LISTS.values()]
        download_voc("voc2012_seg", folder, wanted, _is_complete, VOCSegmentation)
    devkit = find_devkit(folder, {_YEAR})
    if devkit is None:
        raise UserError(f"data=voc2012_seg: no VOCdevkit/VOC{_YEAR} in {root!r}; set data.download=true, or"
                        " data.root=<folder>")  # fmt: skip
    base = devkit / f"VOC{_YEAR}"
    parts = {part: _pairs(base, name) for part, name in _LISTS.items()}
    masks = Masks(parts, _code, base, ["voc2012_seg"], source="VOC")
    return mask_set(masks, cache=cache, image_size=image_size, crop=crop, on_bad=on_bad, leaks=leaks)


def _code(samples: Sequence[Sample]) -> Coding:
    values = {number: number for number in range(len(_NAMES))}
    colours = colours_of(values, palette_of(samples[0].pair.mask), len(_NAMES))
    return make_coding(Naming(_NAMES, values, colours=colours))


def _is_complete(base: Path, part: str) -> bool:
    """Return whether every file of a list exists: an archive may have been unpacked only in part."""
    try:
        names = regular(_list(base, part)).read_text().split()
    except OSError:
        return False
    return bool(names) and all(path.is_file() for name in names for path in _files(base, name))


def _list(base: Path, part: str) -> Path:
    return base / "ImageSets" / "Segmentation" / f"{part}.txt"


def _files(base: Path, name: str) -> tuple[Path, Path]:
    return base / "JPEGImages" / f"{name}.jpg", base / "SegmentationClass" / f"{name}.png"


def _pairs(base: Path, part: str) -> Found:
    """Return the images of a list with their masks."""
    path = _list(base, part)
    if not path.is_file():
        raise UserError(f"{path}: cannot be read (no such file); set data.download=true")
    pairs = []
    for name, place in read_list(path).items():
        image, mask = _files(base, name)
        pairs.append(Pair(image, mask, partial(_read, place, mask), partial(str, mask)))
    return Found(pairs)


def _read(place: str, path: Path, size: tuple[int, int]) -> StoredMask:
    if not path.is_file():
        raise UserError(f"{place}: mask not found: {str(path)!r}")
    return read_mask(path, by_colour=False)
