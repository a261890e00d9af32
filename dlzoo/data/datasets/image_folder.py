"""Your own images: a folder of class folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Literal

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import refusal
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds
from dlzoo.data.image_set import ImageSet
from dlzoo.data.leaks import Leaks, handle_leaks
from dlzoo.data.part_names import by_part, is_hidden, part_of, subfolders
from dlzoo.data.settings import rows_of_parts
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decode_images, find_unreadable
from dlzoo.data.storage.image_file import read_image
from dlzoo.data.storage.value_range import ValueRange, check_conversion, conversion_for

Files = list[tuple[Path, str]]
ImageSize = Annotated[int, Bounds(minimum=1, maximum=4096)]


@DATASETS.register("image_folder", source="the layout of torchvision.datasets.ImageFolder", augment="flip_crop")
def image_folder(
    *,
    cache: Cache,
    root: str | None = None,
    image_size: ImageSize | None = None,
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: Literal["error", "skip"] = "error",
    leaks: Leaks = "warn",
) -> ImageSet:
    """Images of any size and format, one folder per class, in `root`.

    root/train and root/test are the splits; root/val is validation, or the test split if there is no root/test. The
    names may also be Training, valid, dev, seg_test or test2017. Class folders directly in root are split: a fixed
    fifth of each class is the test split. The shorter side of an image is resized to `image_size` pixels and its centre
    is cropped; null keeps the size of images that are all square and of one size, and means 224 otherwise.

    Transparent pixels become the colour `background`. `range` is the values of 16-bit images that become black and
    white; auto: those of the training images. `on_bad` skip leaves out files that are not complete images. `leaks`:
    files that are in two splits or twice in one are an error, reported, or left out.
    """
    if not root:
        raise UserError("data=image_folder needs data.root=<folder with one folder per class>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder {root!r} does not exist")
    seen: dict[str, str] = {}
    parts = {part: _scan(path, seen) for part, path in (_part_folders(folder) or {"train": folder}).items()}
    skipped = _leave_out_bad(parts, folder) if on_bad == "skip" else 0
    classes = _classes(parts, folder)
    parts = _without_copies(parts, leaks, folder, classes)
    paths = [path for files in parts.values() for path, _ in files]
    number = {name: index for index, name in enumerate(classes)}
    labels = torch.tensor([number[name] for files in parts.values() for _, name in files])
    rows = rows_of_parts({part: len(files) for part, files in parts.items()}, labels, folder, by_class=True)
    train = [paths[row] for row in rows["train"].tolist()]
    conversion = conversion_for(folder, train, paths, background=background, value_range=range)
    read = partial(read_image, conversion=conversion)
    everything = Split(decode_images(folder, paths, image_size, cache, read=read, key=[str(conversion)]), labels)
    splits = {part: everything.take(chosen) for part, chosen in rows.items()}
    return ImageSet(splits["train"], splits["test"], tuple(classes), splits.get("val"), conversion.known_range, skipped)


def _without_copies(parts: dict[str, Files], leaks: Leaks, folder: Path, classes: list[str]) -> dict[str, Files]:
    """Return the files of each part after `handle_leaks`.

    Raises:
        UserError: if a class has no training images then.
    """
    kept = handle_leaks(parts, itemgetter(0), leaks, root=folder, class_of=itemgetter(1))
    if gone := sorted(set(classes) - {name for _, name in kept["train"]}):
        raise UserError(f"data.leaks=drop leaves no training image of {', '.join(gone)}: each is elsewhere too")
    return kept


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
    if named:
        _refuse_flat(path for path in subfolders(folder) if part_of(path.name) and path.name not in nested)
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


def _refuse_flat(folders: Iterable[Path]) -> None:
    """Check that no folder that is named for a part is without class folders."""
    for path in folders:
        if list_images(str(path)):
            raise UserError(f"data.root: the images in {str(path)!r} are in no class folder; sort them into one folder"
                            " per class, or move them elsewhere: dlzoo predict classifies them")  # fmt: skip
        raise UserError(f"data.root: {str(path)!r} has no images; add class folders to it, or remove it")


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


def _classes(parts: dict[str, Files], folder: Path) -> list[str]:
    """Return the classes of train, after checking that each split has images, and only these classes."""
    known = {name for _, name in parts["train"]}
    if len(known) < 2:
        count = "one class folder" if known else "no class folder"
        raise UserError(f"data.root: {str(folder)!r} has {count} with images; two or more are needed")
    for part, files in parts.items():
        if not files:
            raise UserError(f"data.root: no images in {str(folder / part)!r}")
        for path, name in files:
            if name not in known:
                raise UserError(f"{path}: class {name!r} of {part}/ is not in train/; add it there or remove it")
    return sorted(known)


def _leave_out_bad(parts: dict[str, Files], folder: Path) -> int:
    """Remove files that are not complete images, and return how many there were."""
    files = [path for part in parts.values() for path, _ in part]
    bad = {files[index]: problem for index, problem in find_unreadable(folder, files).items()}
    if bad:
        first = next(iter(bad.values()))
        warnings.warn(f"{len(bad)} bad image(s) left out, the first: {first}", Note, stacklevel=2)
    for part in parts.values():
        part[:] = [(path, name) for path, name in part if path not in bad]
    return len(bad)


def _scan(folder: Path, seen: dict[str, str]) -> Files:
    """Return (path, class) of every file in the class folders of `folder`, in a fixed order.

    Args:
        folder: the folder of class folders.
        seen: real path of each folder that was listed -> its class folder, also of other parts; is extended.
    """
    files: Files = []
    entries = [entry for entry in os.scandir(folder) if not is_hidden(entry.name)]
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.is_dir():
            # A name that is not UTF-8 could not be written to a report.
            name = os.fsencode(entry.name).decode(errors="replace")
            before = len(files)
            for parent, names in _walk(entry.path):
                other = seen.setdefault(os.path.realpath(parent), entry.path)
                if other != entry.path:
                    raise UserError(f"{parent} is the same folder as one in {other}; remove the link")
                files += [(path, name) for path in _paths(parent, names)]
            if len(files) == before:
                raise UserError(f"{entry.path}: the class folder has no images; add some or remove it")
    beside = [entry.path for entry in entries if entry.name.lower().endswith(IMG_EXTENSIONS) and entry.is_file()]
    if beside:
        warnings.warn(f"{len(beside)} image(s) beside the class folders are left out, such as {min(beside)}", Note,
                      stacklevel=2)  # fmt: skip
    return files


def list_images(top: str) -> list[Path]:
    """Return every file in a folder and its subfolders, except hidden files and folders, in a fixed order."""
    return [path for parent, names in _walk(top) for path in _paths(parent, names)]


def _paths(folder: str, names: list[str]) -> list[Path]:
    """Return the paths of files in a folder; iterdir makes them four times faster than Path(folder, name)."""
    paths = {path.name: path for path in Path(folder).iterdir()}
    return [paths[name] for name in names]


def _refuse_unreadable(error: OSError) -> None:
    raise UserError(refusal(error)) from error


def _walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and its subfolders, each with its files in order, without hidden ones and links that lead back."""
    seen = set(map(str, Path(os.path.realpath(top)).parents))
    for parent, folders, names in os.walk(top, followlinks=True, onerror=_refuse_unreadable):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder that contains `top`, or was visited before
            folders.clear()
            continue
        seen.add(real)
        yield parent, [name for name in sorted(names) if not is_hidden(name)]
