"""Where the images and the masks of a folder are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dlzoo.core.errors import Note, UserError
from dlzoo.data.annotations.text_file import images_in
from dlzoo.data.part_names import PART_WORDS, by_part, subfolders
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask, read_mask
from dlzoo.tasks.segmentation.datasets.mask_scan import Found, Pair

#: Names of the folders of images, and of masks, in lower case.
_IMAGES = {"images", "image", "imgs", "img", "jpegimages"}
_MASKS = {"masks", "mask", "labels", "label", "annotations", "segmentationclass", "gt"}


class Folders(NamedTuple):
    """The folders of the images and of the masks of a split."""

    images: Path
    masks: Path


def find_folders(folder: Path) -> dict[str, Folders]:
    """Return part -> its folders: PART/images and PART/masks, images/PART and masks/PART, or train: images and masks.

    Raises:
        UserError: if there are none, or a part lacks its masks, its images, or is without train.
    """
    both = {part: _both(path) for part, path in by_part(subfolders(folder)).items()}
    found = {part: each for part, each in both.items() if each is not None}
    lacking = next((part for part in both if part not in found), None)
    if found and lacking:
        raise UserError(f"data.root: the {lacking} folder in {str(folder)!r} has no folders images and masks")
    whole = _both(folder)
    if not found and whole is None:
        raise UserError(f"data.root: no folders images and masks in {str(folder)!r}, nor in train, val and test there")
    if not found and whole is not None:
        images, masks = (by_part(subfolders(path)) for path in whole)
        if different := sorted(images.keys() ^ masks.keys()):
            raise UserError(f"data.root: {different[0]} is in only one of {str(whole.images)!r} and"
                            f" {str(whole.masks)!r}; add its other half")  # fmt: skip
        for path in whole if images else ():
            _note_beside(path)
        found = {part: Folders(images[part], masks[part]) for part in images} or {"train": whole}
    if "train" not in found:
        raise UserError(f"data.root: {str(folder)!r} has {' and '.join(found)}, but not train")
    return {part: found[part] for part in PART_WORDS if part in found}


def count_images(section: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> number of its images, for the settings of the data.

    Raises:
        UserError: if the folder is missing, or its layout is not known.
    """
    folder = Path(os.path.expanduser(section["root"] or ""))
    parts = find_folders(folder) if section["root"] and folder.is_dir() else {}
    return {part: len(images_in(each.images)) for part, each in parts.items()}


def _both(folder: Path) -> Folders | None:
    """Return the folders of images and of masks in a folder; None if it does not have both."""
    inside = subfolders(folder)
    found = []
    for words in (_IMAGES, _MASKS):
        named = [path for path in inside if path.name.lower() in words]
        if len(named) > 1:
            raise UserError(f"data.root: {' and '.join(path.name for path in named)} in {str(folder)!r} could each be"
                            f" the {'images' if words is _IMAGES else 'masks'}; rename one")  # fmt: skip
        found += named
    return Folders(*found) if len(found) == 2 else None


def _note_beside(folder: Path) -> None:
    with os.scandir(folder) as entries:
        beside = sorted(entry.path for entry in entries if entry.is_file() and not entry.name.startswith("."))
    if beside:
        warnings.warn(f"{len(beside)} file(s) beside the folders of the parts are left out, such as {beside[0]}", Note,
                      stacklevel=3)  # fmt: skip


def pair_files(folders: Folders, *, by_colour: bool) -> Found:
    """Return the images of a split with their masks, whose names are equal without suffix, and what lacks a partner.

    Raises:
        UserError: if there are no images, or two files have one name.
    """
    images, masks = (_by_stem(path) for path in folders)
    if not images:
        raise UserError(f"data.root: no images in {str(folders.images)!r}")
    pairs = [
        Pair(path, masks[stem], partial(_read, masks[stem], by_colour), partial(str, masks[stem]))
        for stem, path in images.items()
        if stem in masks
    ]
    problems = [_lonely(path, stem, folders.masks, masks, "mask") for stem, path in images.items() if stem not in masks]
    problems += [
        _lonely(path, stem, folders.images, images, "image") for stem, path in masks.items() if stem not in images
    ]
    return Found(pairs, problems)


def _read(path: Path, by_colour: bool, size: tuple[int, int]) -> StoredMask:
    return read_mask(path, by_colour=by_colour)


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return path below the folder without suffix -> file."""
    files: dict[str, Path] = {}
    for path in images_in(folder):
        stem = str(path.relative_to(folder).with_suffix(""))
        if stem in files:
            raise UserError(f"{path} and {files[stem].name} have the same name without suffix; rename or remove one")
        files[stem] = path
    return files


def _lonely(path: Path, stem: str, folder: Path, others: Mapping[str, Path], what: str) -> str:
    """Return a message for a file without its partner, with the file that has nearly its name."""
    near = [name for name in others if name.startswith(stem) or stem.startswith(name)] if len(stem) > 2 else []
    hint = f" (there is {others[near[0]].name}; partners have equal names without suffix)" if near else ""
    return f"{path}: no {what} of this name in {str(folder)!r}{hint}"
