"""Your own detection data in COCO's JSON format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from reprlib import repr
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.part_names import PART_WORDS
from dlzoo.data.storage.cache import Cache
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import Annotate, Annotation, Object, OnBad, box_set
from dlzoo.tasks.detection.datasets.json_file import JsonFile

#: Places of the file of a split: COCO's, Roboflow's, and two plain ones.
_PLACES = ("annotations/instances_{}*.json", "{}/_annotations.coco.json", "annotations/{}*.json", "{}.json")
#: Limit of coordinates: excludes NaN, infinity and integers too large for a float.
_FAR = 1e9


@DATASETS.register(
    "coco_json", source="Lin et al., arXiv:1405.0312; cocodataset.org, data format", model="yolov3", augment="yolo",
    tasks=("detect",),
)  # fmt: skip
def coco_json(
    *,
    cache: Cache,
    root: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    images: str | None = None,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> BoxSet:
    """Images in `root` with boxes in COCO's JSON files, one for each split.

    `train`, `val` and `test` name the files, below `root`; null looks for annotations/instances_train*.json,
    train/_annotations.coco.json, annotations/train*.json and train.json. Without test, val is the test split; without
    both, a fixed fifth of train. Images are beside their file, or in `images`, images/ or `root`, or there in a folder
    named like the file (train2017 for instances_train2017.json). Crowds (iscrowd) are neither trained on nor evaluated.
    """
    if not root:
        raise UserError("data=coco_json needs data.root=<folder with annotations/ and images>")
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    named = {part: _file(folder, part, name) for part, name in (("train", train), ("val", val), ("test", test))}
    paths = {part: path for part, path in named.items() if path is not None}
    if "train" not in paths:
        places = ", ".join(place.format("train") for place in _PLACES)
        raise UserError(f"data.root: none of {places} in {root!r}; set data.train to the file")
    files = {part: JsonFile(path) for part, path in paths.items()}
    categories = _categories(files["train"])
    names = list(categories.values())
    labels = {name: label for label, name in enumerate(names)}
    readers = {part: _readers(file, labels, folder, images) for part, file in files.items()}
    key = ["coco_json", *(f"{part}={path}" for part, path in paths.items())]
    return box_set(
        readers,
        names,
        root=folder,
        key=key,
        image_size=image_size,
        fit=fit,
        on_bad=on_bad,
        leaks=leaks,
        cache=cache,
        categories=tuple(categories),
    )


def _file(folder: Path, part: str, name: str | None) -> Path | None:
    """Return the file of a split: the named one, or the only one found."""
    if name is not None:
        if not (folder / name).is_file():
            raise UserError(f"data.{part}: no file {name!r} in {str(folder)!r}")
        return folder / name
    for place in _PLACES:
        spelled = [spelling for word in PART_WORDS[part] for spelling in (word, word.capitalize(), word.upper())]
        files = sorted({path for word in spelled for path in folder.glob(place.format(word))})
        if len(files) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in files)
            raise UserError(f"data.root: {names} could each be {part}; set data.{part} to one of them")
        if files:
            return files[0]
    return None


def _categories(file: JsonFile) -> dict[int, str]:
    """Return id -> name, in order of id."""
    names: dict[int, str] = {}
    for index in range(len(file.rows("categories"))):
        number, name = file.get("categories", index, "id", int), file.get("categories", index, "name", str)
        if number in names or name in names.values():
            raise UserError(f"{file.where('categories', index)}: duplicate category id or name")
        names[number] = name
    return dict(sorted(names.items()))


def _readers(file: JsonFile, labels: Mapping[str, int], folder: Path, images: str | None) -> list[Annotate]:
    """Return functions that read the annotation of each image of a file."""
    known = {number: labels.get(name) for number, name in _categories(file).items()}
    members: dict[Any, list[int]] = {}
    for index in range(len(file.rows("images"))):
        number = file.get("images", index, "id", int, str)
        if number in members:
            raise UserError(f"{file.where('images', index)}: duplicate image id {number!r}")
        members[number] = []
    if not members:
        raise UserError(f"{file.path}: no images")
    for index in range(len(file.rows("annotations"))):
        number = file.get("annotations", index, "image_id", int, str)
        if number not in members:
            raise UserError(f"{file.where('annotations', index)}: no image has the id {number!r} (image_id)")
        members[number].append(index)
    base = _image_folder(file, folder, images)
    return [partial(_annotation, file, index, mine, base, known) for index, mine in enumerate(members.values())]


def _image_folder(file: JsonFile, folder: Path, images: str | None) -> Path:
    """Return the folder of the images' file names: the first that holds one of them."""
    bases = [folder / images] if images is not None else [file.path.parent, folder / "images", folder]
    stem = file.path.stem.removeprefix("instances_")
    places = [place for base in bases for place in (base, base / stem)]
    for index in range(len(file.rows("images"))):
        name = file.get("images", index, "file_name", str)
        for place in places:
            if (place / name).is_file():
                return place
    first, searched = file.rows("images")[0]["file_name"], ", ".join(map(str, places))
    raise UserError(f"{file.where('images', 0)}: no image {first!r} in {searched}; set data.images to its folder")


def _annotation(
    file: JsonFile, index: int, members: list[int], base: Path, known: Mapping[int, int | None]
) -> Annotation:
    name, size = file.get("images", index, "file_name", str), None
    if {"width", "height"} <= file.rows("images")[index].keys():
        size = file.get("images", index, "width", int), file.get("images", index, "height", int)
    things = [_object(file, member, known) for member in members]
    # Images of some files have texts as ids, which COCO's format does not allow.
    number = file.get("images", index, "id", int, str)
    where = partial(file.where, "images", index)
    return Annotation(base / name, size, things, where, number=None if isinstance(number, str) else number)


def _object(file: JsonFile, index: int, known: Mapping[int, int | None]) -> Object:
    where = partial(file.where, "annotations", index)
    category = file.get("annotations", index, "category_id", int)
    label = known.get(category)
    if label is None:
        raise UserError(f"{where()}: unknown category_id {category}; the classes are the categories of train")
    box = file.get("annotations", index, "bbox", list)
    if len(box) != 4 or not all(type(value) in (int, float) and abs(value) < _FAR for value in box):
        raise UserError(f"{where()}: bbox must be four numbers x, y, width, height, not {repr(box)}")
    x, y, width, height = box
    crowd = "iscrowd" in file.rows("annotations")[index] and file.get("annotations", index, "iscrowd", int, bool)
    return Object((x, y, x + width, y + height), label, bool(crowd), where)
