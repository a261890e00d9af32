"""Your own images: a folder of class folders."""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import torch

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds
from dlzoo.data.image_set import ImageSet
from dlzoo.data.leaks import Leaks, handle_leaks
from dlzoo.data.part_names import by_part, is_hidden, part_of, subfolders
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decode_images
from dlzoo.data.storage.lazy_images import LazyImages

#: Fraction of the images that becomes the test split if there is none.
TEST_FRACTION = 0.2

Files = list[tuple[Path, str]]
ImageSize = Annotated[int, Bounds(minimum=1, maximum=4096)]


@DATASETS.register("image_folder", source="the layout of torchvision.datasets.ImageFolder", augment="flip_crop")
def image_folder(
    *, cache: Cache, root: str | None = None, image_size: ImageSize | None = None, leaks: Leaks = "warn"
) -> ImageSet:
    """Images of any size and format, one folder per class, in `root`.

    root/train and root/test are the splits; root/val is validation, or the test split if there is no root/test. The
    names may also be Training, valid, dev, seg_test or test2017. Class folders directly in root are split: a fixed
    fifth of each class is the test split. The shorter side of an image is resized to `image_size` pixels and its centre
    is cropped; null keeps the size of images that are all square and of one size, and means 224 otherwise. `leaks`:
    files that are in two splits or twice in one are an error, reported, or left out.
    """
    if not root:
        raise UserError("data=image_folder needs data.root=<folder with one folder per class>")
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder {root!r} does not exist")
    parts = {part: _scan(path) for part, path in _part_folders(folder).items()} or {"train": _scan(folder)}
    classes = sorted({name for _, name in parts["train"]})
    if len(classes) < 2:
        count = "one class folder" if classes else "no class folder"
        raise UserError(f"data.root: {root!r} has {count} with images; two or more are needed")
    _check_parts(folder, parts, classes)
    parts = handle_leaks(parts, itemgetter(0), leaks, root=folder)
    paths = [path for files in parts.values() for path, _ in files]
    return _image_set(folder, parts, classes, decode_images(folder, paths, image_size, cache))


def _part_folders(folder: Path) -> dict[str, Path]:
    """Return part -> the folder of its class folders; empty if the class folders are directly in `folder`.

    Raises:
        UserError: for folders that look like parts, but are not named for one.
    """
    # A folder without folders is a class, whatever its name.
    nested = {path.name: {each.name for each in subfolders(path)} for path in subfolders(folder) if subfolders(path)}
    named = by_part(folder / name for name in nested)
    parts = {part: _innermost(path) for part, path in named.items()}
    others = {name: inside for name, inside in nested.items() if folder / name not in named.values()}
    if "train" not in parts:
        alike = [
            name
            for name, inside in nested.items()
            if any(len(inside & nested[other]) > 1 for other in nested if other != name)
        ]
        if unclear := sorted({*alike, *(path.name for path in parts.values())}):
            raise UserError(
                f"data.root: {', '.join(unclear)} in {str(folder)!r} look like parts of a data set, not like classes;"
                " name them train, val and test, or set data.root to one of them"
            )
        _refuse_masks(folder)
        return {}
    if len(parts) == 1:
        raise UserError(f"data.root: {str(folder)!r} has {parts['train'].name}/ but no test or val folder; add one"
                        + (f" (there is {', '.join(others)})" if others else ""))  # fmt: skip
    classes = {path.name for path in subfolders(parts["train"])}
    if unused := [name for name, inside in others.items() if inside & classes]:
        raise UserError(f"data.root: {', '.join(unused)} in {str(folder)!r} has class folders, but the name of no part;"
                        " name it train, val or test, or move it elsewhere")  # fmt: skip
    return parts


def _innermost(folder: Path) -> Path:
    """Return the folder of the class folders: archives have a folder seg_train in seg_train."""
    inside = subfolders(folder)
    return _innermost(inside[0]) if len(inside) == 1 and part_of(inside[0].name) == part_of(folder.name) else folder


def _refuse_masks(folder: Path) -> None:
    names = {path.name.lower() for path in subfolders(folder)}
    if names & {"masks", "labels", "annotations"} and names & {"images", "imgs", "jpegimages"}:
        raise UserError(
            f"data.root: {str(folder)!r} has {' and '.join(sorted(names))}: images with masks or labels;"
            " data=image_folder needs one folder per class"
        )


def _check_parts(folder: Path, parts: dict[str, Files], classes: list[str]) -> None:
    """Check that each split has images, and only classes of train."""
    known = set(classes)
    for part, files in parts.items():
        if not files:
            raise UserError(f"data.root: no images in {str(folder / part)!r}")
        for path, name in files:
            if name not in known:
                raise UserError(f"{path}: class {name!r} of {part}/ is not in train/; add it there or remove it")


def _image_set(folder: Path, parts: dict[str, Files], classes: list[str], images: LazyImages) -> ImageSet:
    number = {name: index for index, name in enumerate(classes)}
    labels = torch.tensor([number[name] for files in parts.values() for _, name in files])
    everything = Split(images, labels)
    if len(parts) == 1:
        train, test = cut(everything, TEST_FRACTION, seed=0, by_class=True)
        if not len(test):
            raise UserError(f"data.root: {len(labels)} images in {str(folder)!r} are too few to split off a test set")
        return ImageSet(train, test, tuple(classes))
    start, splits = 0, {}
    for part, files in parts.items():
        splits[part] = everything.take(torch.arange(start, start + len(files)))
        start += len(files)
    test = splits.pop("test", None) or splits.pop("val")
    return ImageSet(splits["train"], test, tuple(classes), val=splits.get("val"))


def _scan(folder: Path) -> Files:
    """Return (path, class) of every file in the class folders of `folder`, in a fixed order."""
    files: Files = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir() and not is_hidden(entry.name):
            images = list_images(entry.path)
            if not images:
                raise UserError(f"{entry.path}: the class folder has no images; add some or remove it")
            # A name that is not UTF-8 could not be written to a report.
            name = os.fsencode(entry.name).decode(errors="replace")
            files += [(path, name) for path in images]
    return files


def list_images(top: str) -> list[Path]:
    """Return every file in a folder and its subfolders, except hidden files and folders, in a fixed order."""
    images, seen = [], set()
    for parent, folders, names in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder visited before
            folders.clear()
            continue
        seen.add(real)
        images += [Path(parent, name) for name in sorted(names) if not is_hidden(name)]
    return images
