"""PASCAL VOC's detection data sets, in torchvision's layout."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torchvision.datasets import VOCDetection

from dlzoo.core.errors import UserError
from dlzoo.core.files import regular
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.text_file import BESIDE, read_list
from dlzoo.data.annotations.voc_devkit import CLASSES, download_voc, find_devkit
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.storage.cache import Cache
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import OnBad, box_set
from dlzoo.tasks.detection.datasets.samples import Annotate, Annotation
from dlzoo.tasks.detection.datasets.voc_annotation import read_annotation

_LABELS = {name: label for label, name in enumerate(CLASSES)}
_SOURCE = "Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010"

#: Split -> the years and the lists of ImageSets/Main that it consists of.
_Lists = Mapping[str, Sequence[tuple[str, str]]]


@DATASETS.register("voc2007", source=_SOURCE, model="yolov3", augment="yolo", tasks=("detect",))
def voc2007(
    *,
    cache: Cache,
    root: str = "data",
    download: bool = False,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
    difficult: bool = False,
) -> BoxSet:
    """9,963 photos with boxes of 20 classes; 5,011 (trainval) to train on.

    `root` holds VOCdevkit/VOC2007 or VOC2007. `difficult` trains on objects marked difficult; they never count in
    evaluation.
    """
    splits = {"train": [("2007", "trainval")], "test": [("2007", "test")]}
    return _box_set("voc2007", splits, root, download, image_size, fit, on_bad, leaks, difficult, cache)


@DATASETS.register("voc2012", source=_SOURCE, model="yolov3", augment="yolo", tasks=("detect",))
def voc2012(
    *,
    cache: Cache,
    root: str = "data",
    download: bool = False,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
    difficult: bool = False,
) -> BoxSet:
    """11,540 photos with boxes of 20 classes; 5,717 (train) to train on, and val to test: test is not published."""
    splits = {"train": [("2012", "train")], "test": [("2012", "val")]}
    return _box_set("voc2012", splits, root, download, image_size, fit, on_bad, leaks, difficult, cache)


@DATASETS.register("voc0712", source=_SOURCE, model="yolov3", augment="yolo", tasks=("detect",))
def voc0712(
    *,
    cache: Cache,
    root: str = "data",
    download: bool = False,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
    difficult: bool = False,
) -> BoxSet:
    """21,503 photos with boxes of 20 classes: 16,551 (trainval of 2007 and 2012) to train on, and test of 2007."""
    splits = {"train": [("2007", "trainval"), ("2012", "trainval")], "test": [("2007", "test")]}
    return _box_set("voc0712", splits, root, download, image_size, fit, on_bad, leaks, difficult, cache)


def _box_set(
    name: str,
    splits: _Lists,
    root: str,
    download: bool,
    image_size: int,
    fit: Fit,
    on_bad: OnBad,
    leaks: Leaks,
    difficult: bool,
    cache: Cache,
) -> BoxSet:
    folder = Path(os.path.expanduser(root))
    if download:
        wanted = [one for lists in splits.values() for one in lists]
        download_voc(name, folder, wanted, _is_complete, VOCDetection)
    years = {year for lists in splits.values() for year, _ in lists}
    devkit = find_devkit(folder, years)
    if devkit is None:
        missing = " and ".join(f"VOCdevkit/VOC{year}" for year in sorted(years))
        raise UserError(f"data={name}: no {missing} in {root!r}; set data.download=true, or data.root=<folder>")
    parts = {part: [reader for one in lists for reader in _readers(devkit, *one)] for part, lists in splits.items()}
    return box_set(
        parts,
        CLASSES,
        root=devkit,
        key=[name],
        image_size=image_size,
        fit=fit,
        on_bad=on_bad,
        leaks=leaks,
        cache=cache,
        difficult=difficult,
    )


def _is_complete(base: Path, part: str) -> bool:
    """Return whether every file of a list exists: an archive may have been unpacked only in part."""
    try:
        names = regular(_list(base, part)).read_text().split()
    except OSError:
        return False
    images = base / "JPEGImages"
    return all((images / f"{name}.jpg").is_file() and _xml(base, name).is_file() for name in names)


def _list(base: Path, part: str) -> Path:
    return base / "ImageSets" / "Main" / f"{part}.txt"


def _xml(base: Path, name: str) -> Path:
    return base / "Annotations" / f"{name}.xml"


def _readers(devkit: Path, year: str, part: str) -> list[Annotate]:
    """Return functions that read the annotation of each image of a list."""
    base = devkit / f"VOC{year}"
    path = _list(base, part)
    if not path.is_file():
        raise UserError(f"{path}: cannot be read (no such file); set data.download=true")
    images = _image_names(base / "JPEGImages")
    return [
        partial(_annotation, _xml(base, name), base / "JPEGImages" / images.get(name, f"{name}.jpg"), place)
        for name, place in read_list(path).items()
    ]


def _image_names(folder: Path) -> dict[str, str]:
    """Return name without suffix -> name, of the images in a folder; of several that ending in .jpg."""
    names = [os.path.splitext(name) for name in os.listdir(folder)] if folder.is_dir() else []
    images = sorted((suffix == ".jpg", stem, suffix) for stem, suffix in names if suffix.lower() not in BESIDE)
    return {stem: stem + suffix for _, stem, suffix in images}


def _annotation(path: Path, image: Path, listed: str) -> Annotation:
    if not path.is_file():
        hint = "; a list has one name a line, without a second column" if len(path.stem.split()) > 1 else ""
        raise UserError(f"{listed}: annotation not found: {str(path)!r}{hint}")
    return read_annotation(path, image, _LABELS)
