"""One's own pictures: a folder of class folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds
from dlzoo.data.image_set import ImageSet
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decoded
from dlzoo.data.storage.lazy_images import Stored

#: What file managers leave behind; any other file that is not a picture is an error.
_LITTER = {"thumbs.db", "desktop.ini"}
#: The share that becomes the test split where there is none.
TEST_FRACTION = 0.2

Files = list[tuple[Path, str]]
ImageSize = Annotated[int, Bounds(minimum=1, maximum=4096)]


@DATASETS.register("image_folder", source="the layout of torchvision.datasets.ImageFolder", augment="flip_crop")
def image_folder(*, cache: Cache, root: str | None = None, image_size: ImageSize | None = None) -> ImageSet:
    """Pictures of any size and format, one folder a class, in `root`.

    root/train and root/test are the splits; root/val is validation, or the test split where there is no root/test.
    Class folders right under root are split: a fixed fifth of each class is the test split. Pictures are resized so
    that the shorter side has `image_size` pixels and the middle is kept; null keeps the size of pictures that are
    all square and of one size, and means 224 otherwise.
    """
    if not root:
        raise UserError("data=image_folder needs data.root=<folder with one folder a class>")
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: no folder {root!r}")
    parts = {name: _scan(folder / name) for name in ("train", "val", "test") if (folder / name).is_dir()}
    if "train" not in parts:
        parts = {"train": _scan(folder)}
    elif len(parts) == 1:
        raise UserError(f"data.root: {root!r} has train/ but neither test/ nor val/")
    classes = sorted({name for _, name in parts["train"]})
    if len(classes) < 2:
        raise UserError(f"data.root: {root!r} has {len(classes)} class folder(s) with pictures, and needs two or more")
    paths = _paths(folder, parts, classes)
    return _image_set(folder, parts, classes, decoded(folder, paths, image_size, cache))


def _paths(folder: Path, parts: dict[str, Files], classes: list[str]) -> list[Path]:
    """Every picture, part by part, after a look at whether the parts fit together."""
    known = set(classes)
    for part, files in parts.items():
        if not files:
            raise UserError(f"data.root: no pictures in {str(folder / part)!r}")
        for path, name in files:
            if name not in known:
                raise UserError(f"{path}: class {name!r} of {part}/ is not in train/")
    return [path for files in parts.values() for path, _ in files]


def _image_set(folder: Path, parts: dict[str, Files], classes: list[str], images: Stored) -> ImageSet:
    number = {name: index for index, name in enumerate(classes)}
    labels = torch.tensor([number[name] for files in parts.values() for _, name in files])
    everything = Split(images, labels)
    if len(parts) == 1:
        train, test = cut(everything, TEST_FRACTION, seed=0, by_class=True)
        if not len(test):
            raise UserError(f"data.root: {len(labels)} pictures are too few to cut a test split from {str(folder)!r}")
        return ImageSet(train, test, tuple(classes))
    start, splits = 0, {}
    for part, files in parts.items():
        splits[part] = everything.take(torch.arange(start, start + len(files)))
        start += len(files)
    test = splits.pop("test", None) or splits.pop("val")
    return ImageSet(splits["train"], test, tuple(classes), val=splits.get("val"))


def _scan(folder: Path) -> Files:
    """(path, class) of every file in the class folders of `folder`, in a fixed order."""
    files: Files = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            found = pictures_below(entry.path)
            if not found:
                raise UserError(f"{entry.path}: a class folder without pictures; fill it or remove it")
            # A name that is no UTF-8 could be written to no report.
            name = os.fsencode(entry.name).decode(errors="replace")
            files += [(path, name) for path in found]
    return files


def pictures_below(top: str) -> list[Path]:
    """Every file in a folder and those below it, but for hidden ones and litter, in a fixed order."""
    found, seen = [], set()
    for parent, folders, names in os.walk(top, followlinks=True):
        folders.sort()
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        found += [Path(parent, name) for name in sorted(names) if name[0] != "." and name.lower() not in _LITTER]
    return found
