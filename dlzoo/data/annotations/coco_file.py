"""The categories of a COCO file, and the annotations of each of its images."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from dlzoo.core.errors import Note, UserError
from dlzoo.data.annotations.coco_layout import PLACES, find_files
from dlzoo.data.annotations.json_file import JsonFile, whole

#: Bytes of a file that has more than a few images, and is not read only to count them.
_LARGE = 20_000_000


def read_files(folder: Path, names: Mapping[str, str | None]) -> dict[str, JsonFile]:
    """Return part -> its file, of those that there are.

    Args:
        folder: data.root.
        names: part -> the name of its file below the folder; None to look for it.

    Raises:
        UserError: if there is none for train, or a file is no JSON object of lists.
    """
    paths = find_files(folder, names)
    if "train" not in paths:
        places = ", ".join(place.format("train") for place in PLACES)
        raise UserError(f"data.root: none of {places} in {str(folder)!r}; set data.train to the file")
    return {part: JsonFile(path) for part, path in paths.items()}


def count_images(section: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> number of its images, for the settings of the data; {} if the files are large.

    Raises:
        UserError: if a file is missing, or no JSON.
    """
    folder = Path(os.path.expanduser(section["root"] or ""))
    paths = find_files(folder, {part: section[part] for part in ("train", "val", "test")}) if section["root"] else {}
    if any(path.stat().st_size > _LARGE for path in paths.values()):
        return {}
    return {part: len(JsonFile(path).rows("images")) for part, path in paths.items()}


def categories_of(file: JsonFile) -> dict[int, str]:
    """Return id -> name, in order of id, without groups of categories that have the name of one of them."""
    names: dict[int, str] = {}
    rows = file.rows("categories")
    every = [(file.get("categories", i, "id", int), file.get("categories", i, "name", str)) for i in range(len(rows))]
    times = Counter(name for _, name in every)
    for index, (number, name) in enumerate(every):
        if times[name] > 1 and _is_empty_group(file, number, name, rows[index]):
            warnings.warn(
                f"{file.where('categories', index)}: {name!r} has no objects, and a category in it has its name;"
                " it is left out", Note, stacklevel=2,
            )  # fmt: skip
        elif number in names or name in names.values():
            raise UserError(f"{file.where('categories', index)}: duplicate category id or name")
        else:
            names[number] = name
    return dict(sorted(names.items()))


def _is_empty_group(file: JsonFile, number: int, name: str, row: Mapping[str, Any]) -> bool:
    """Return whether a category is the supercategory of others and has no objects: exports name it after a project."""
    members = [other for other in file.rows("categories") if other is not row and other.get("supercategory") == name]
    used = (whole(each.get("category_id")) == number for each in file.rows("annotations") if isinstance(each, dict))
    return bool(members) and row.get("supercategory") != name and not any(used)


def group_by_image(file: JsonFile) -> tuple[dict[int | str, list[int]], dict[int | str, int]]:
    """Return the id of each image -> the indices of its annotations; and unknown ids -> the first annotation of each.

    Raises:
        UserError: if there are no images, or two of one id.
    """
    members: dict[int | str, list[int]] = {}
    for index in range(len(file.rows("images"))):
        number = file.get("images", index, "id", int, str)
        if number in members:
            raise UserError(f"{file.where('images', index)}: duplicate image id {number!r}")
        members[number] = []
    if not members:
        raise UserError(f"{file.path}: no images")
    missing: dict[int | str, int] = {}
    for index in range(len(file.rows("annotations"))):
        number = file.get("annotations", index, "image_id", int, str)
        if number in members:
            members[number].append(index)
        else:
            missing.setdefault(number, index)
    return members, missing


def refuse_image(file: JsonFile, index: int, number: int | str) -> NoReturn:
    """Raise the error for an annotation of an image that the file does not have."""
    raise UserError(f"{file.where('annotations', index)}: no image has the id {number!r} (image_id)")
