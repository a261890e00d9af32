"""Your own detection data as text files, one for each image, as Ultralytics' tools read them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dlzoo.config.yaml_file import read_yaml
from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.text_file import check_class_names, read_class_names
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.value_range import ValueRange, check_conversion
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import OnBad, box_set
from dlzoo.tasks.detection.datasets.samples import Annotate, Annotation, Object
from dlzoo.tasks.detection.datasets.yolo_layout import Part, find_parts

#: Without names of the classes, a class number above this is an error.
_MOST_CLASSES = 10_000
#: Words of a line of a box, and the fewest of a polygon.
_BOX, _TRIANGLE = 5, 7


@DATASETS.register(
    "yolo_txt", source="docs.ultralytics.com, detection data sets", model="yolov3", augment="yolo", tasks=("detect",),
    counts="dlzoo.tasks.detection.datasets.yolo_txt:count_images",
    defaults="dlzoo.tasks.detection.datasets.few_images:defaults",
)  # fmt: skip
def yolo_txt(
    *,
    cache: Cache,
    root: str | None = None,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> BoxSet:
    """Images in root/images/{train,val,test}, and for each one root/labels/.../name.txt with lines `class cx cy w h`.

    Coordinates are relative to the image's width and height; an image without a text file has no objects. A line of a
    class and the corners of a polygon or a rotated box, `class x y x y x y ...`, is read as the upright box around it.
    root/{train,valid,test}/{images,labels} works as well; root/data.yaml may name the images of train, val and test, by
    a folder, a text file with paths, or a list of these. The classes are named in root/classes.txt, one per line, or
    under names in root/data.yaml; otherwise by their numbers. Without test, val is the test split; without both, or
    with all images directly in root/images, a fixed fifth of train.
    Fewer than 1,000 training images have defaults of their own (docs/detection.md).
    """
    if not root:
        raise UserError("data=yolo_txt needs data.root=<folder with images/ and labels/>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    listed = _data_yaml(folder)
    parts = find_parts(folder, listed)
    names = _names(folder, listed) or _numbers(text for part in parts.values() for text in part.texts.values())
    # Lines of poses have a box before their keypoints.
    readers = {name: _readers(part, names, _BOX if "kpt_shape" in listed else None) for name, part in parts.items()}
    return box_set(
        readers, names, root=folder, key=["yolo_txt"], image_size=image_size, fit=fit, on_bad=on_bad, leaks=leaks,
        cache=cache, background=background, value_range=range,
    )  # fmt: skip


def count_images(section: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> number of its images, for the settings of the data.

    Raises:
        UserError: if the folder is missing, or its layout is not known.
    """
    folder = Path(os.path.expanduser(section["root"] or ""))
    parts = find_parts(folder, _data_yaml(folder)) if section["root"] else {}
    return {name: len(part.texts) for name, part in parts.items()}


def _names(folder: Path, listed: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes; an empty list if no file has them."""
    if (path := folder / "classes.txt").is_file():
        return read_class_names(path)
    path = folder / "data.yaml"
    return check_class_names(path, _yaml_names(path, listed)) if path.is_file() else []


def _data_yaml(folder: Path) -> Mapping[str, Any]:
    """Return the content of data.yaml; empty if there is none."""
    path = folder / "data.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path)
    return content if isinstance(content, Mapping) else {}


def _yaml_names(path: Path, listed: Mapping[str, Any]) -> list[str]:
    names = listed.get("names")
    if isinstance(names, Mapping) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not all(type(name) in (str, int, float) for name in names):
        raise UserError(
            f"{path}: names must be a list, or a mapping from 0, 1, ... to names (put yes and no in quotes)"
        )
    return [str(name) for name in names]


def _numbers(texts: Iterable[Path]) -> list[str]:
    """Return the numbers of the classes as their names; `_annotation` reports invalid ones and unreadable texts."""
    most = 0
    for text in texts:
        try:
            lines = _lines(text)
        except UserError:
            continue
        for line in lines:
            number = _class_number(line.split()[0]) if line.strip() else None
            if number is not None:
                if number >= _MOST_CLASSES:
                    raise UserError(f"{text}: class {number} is too large without names; list them in classes.txt")
                most = max(most, number)
    return [str(number) for number in range(most + 1)]


def _class_number(word: str) -> int | None:
    """Return the number of a class, also written as 1.0 or 1e0; None for any other word."""
    try:
        value = float(word)
    except ValueError:
        return None
    return int(value) if value.is_integer() and 0 <= value < 1e9 else None


def _readers(part: Part, names: list[str], columns: int | None) -> list[Annotate]:
    return [
        *(partial(_annotation, path, text, names, columns) for path, text in part.texts.items()),
        *(partial(_refuse_orphan, path, part.images) for path in part.orphans),
    ]


def _refuse_orphan(path: Path, images: Path) -> Annotation:
    raise UserError(f"{path}: no image of this name in {str(images)!r}")


def _annotation(path: Path, text: Path, names: list[str], columns: int | None) -> Annotation:
    rows = [(number, line.split()[:columns]) for number, line in enumerate(_lines(text), 1) if line.strip()]
    things = [_object(words, f"{text}, line {number}", names) for number, words in rows]
    polygons = sum(len(words) != _BOX for _, words in rows)
    return Annotation(path, None, things, lambda: str(text), relative=True, polygons=polygons)


def _object(words: list[str], where: str, names: list[str]) -> Object:
    if len(words) != _BOX and (len(words) < _TRIANGLE or len(words) % 2 == 0):
        raise UserError(f"{where}: expected `class cx cy w h`, or `class x y x y x y ...`, not {len(words)} word(s)")
    try:
        numbers = list(map(float, words[1:]))
    except ValueError:
        raise UserError(f"{where}: {' '.join(words)!r} contains a value that is not a number") from None
    label = _class_number(words[0])
    if label is None or label >= len(names):
        raise UserError(f"{where}: unknown class {words[0]!r}; there are {len(names)} classes, counted from 0")
    return Object(_box(numbers), label, False, lambda: where)


def _box(numbers: list[float]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of a box as cx, cy, w, h, or of the box around a polygon as x, y, x, y, ..."""
    if len(numbers) == _BOX - 1:
        cx, cy, width, height = numbers
        return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
    if not all(map(math.isfinite, numbers)):
        return math.nan, math.nan, math.nan, math.nan
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _lines(path: Path) -> list[str]:
    return read_text(path).splitlines() if path.exists() else []
