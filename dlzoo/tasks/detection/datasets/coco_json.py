"""Your own detection data in COCO's JSON format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from reprlib import repr

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.coco_file import categories_of, group_by_image, read_files, refuse_image
from dlzoo.data.annotations.coco_layout import ImageFolder, find_images
from dlzoo.data.annotations.json_file import JsonFile
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.value_range import ValueRange, check_conversion
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import OnBad, box_set
from dlzoo.tasks.detection.datasets.samples import Annotate, Annotation, Object, known_size

#: Limit of coordinates: excludes NaN, infinity and integers too large for a float.
_FAR = 1e9


@DATASETS.register(
    "coco_json", source="Lin et al., arXiv:1405.0312; cocodataset.org, data format", model="yolov3", augment="yolo",
    tasks=("detect",), counts="dlzoo.data.annotations.coco_file:count_images",
    defaults="dlzoo.tasks.detection.datasets.few_images:defaults",
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
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> BoxSet:
    """Images in `root` with boxes in COCO's JSON files, one for each split.

    `train`, `val` and `test` name the files, below `root`; null looks for annotations/instances_train*.json,
    train/_annotations.coco.json, annotations/train*.json and train.json. Without test, val is the test split; without
    both, a fixed fifth of train. Images are beside their file, or in `images`, images/ or `root`; first in a folder
    there that is named like the file (train2017 for instances_train2017.json) or the split. Crowds (iscrowd) are
    neither trained on nor evaluated.
    Fewer than 1,000 training images have defaults of their own (docs/detection.md).
    """
    if not root:
        raise UserError("data=coco_json needs data.root=<folder with annotations/ and images>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    files = read_files(folder, {"train": train, "val": val, "test": test})
    categories = {part: categories_of(file) for part, file in files.items()}
    names = list(categories["train"].values())
    labels = {name: label for label, name in enumerate(names)}
    known = {part: {number: labels.get(name) for number, name in each.items()} for part, each in categories.items()}
    readers = {part: _readers(file, known[part], part, folder, images) for part, file in files.items()}
    key = ["coco_json", *(f"{part}={file.path}" for part, file in files.items())]
    return box_set(
        readers, names, root=folder, key=key, image_size=image_size, fit=fit, on_bad=on_bad, leaks=leaks,
        cache=cache, background=background, value_range=range, categories=tuple(categories["train"]),
    )  # fmt: skip


def _readers(
    file: JsonFile, known: Mapping[int, int | None], part: str, folder: Path, images: str | None
) -> list[Annotate]:
    """Return functions that read the annotation of each image of a file; `known` is category id -> class."""
    members, missing = group_by_image(file)
    base = find_images(file, part, folder, images)
    return [
        *(partial(_annotation, file, index, mine, base, known) for index, mine in enumerate(members.values())),
        *(partial(refuse_image, file, index, number) for number, index in missing.items()),
    ]


def _annotation(
    file: JsonFile, index: int, members: list[int], base: ImageFolder, known: Mapping[int, int | None]
) -> Annotation:
    where, name = partial(file.where, "images", index), file.get("images", index, "file_name", str)
    try:
        path = base.path(name)
    except UserError as error:
        raise UserError(f"{where()}: {error}") from error
    size = known_size(file.optional("images", index, "width", int), file.optional("images", index, "height", int))
    things = [_object(file, member, known) for member in members]
    # Images of some files have texts as ids, which COCO's format does not allow.
    number = file.get("images", index, "id", int, str)
    return Annotation(path, size, things, where, number=None if isinstance(number, str) else number)


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
    crowd = file.optional("annotations", index, "iscrowd", int, bool)
    return Object((x, y, x + width, y + height), label, bool(crowd), where)
