"""Your own detection data as text files, one for each image, as Ultralytics' tools read them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registries import DATASETS
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.storage.cache import Cache
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import Annotate, Annotation, Object, OnBad, box_set
from dlzoo.tasks.detection.datasets.yolo_layout import Part, find_parts, read_text

#: Without names of the classes, a class number above this is an error.
_MOST_CLASSES = 10_000


@DATASETS.register(
    "yolo_txt", source="docs.ultralytics.com, detection data sets", model="yolov3", augment="yolo", tasks=("detect",)
)
def yolo_txt(
    *,
    cache: Cache,
    root: str | None = None,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> BoxSet:
    """Images in root/images/{train,val,test}, and for each one root/labels/.../name.txt with lines `class cx cy w h`.

    Coordinates are relative to the image's width and height; an image without a text file has no objects.
    root/{train,valid,test}/{images,labels} works as well; root/data.yaml may name the images of train, val and test, by
    a folder, a text file with paths, or a list of these. The classes are named in root/classes.txt, one per line, or
    under names in root/data.yaml; otherwise by their numbers. Without test, val is the test split; without both, or
    with all images directly in root/images, a fixed fifth of train.
    """
    if not root:
        raise UserError("data=yolo_txt needs data.root=<folder with images/ and labels/>")
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    listed = _data_yaml(folder)
    parts = find_parts(folder, listed)
    names = _names(folder, listed) or _numbers(text for part in parts.values() for text in part.texts.values())
    readers = {name: _readers(part, names) for name, part in parts.items()}
    return box_set(
        readers,
        names,
        root=folder,
        key=["yolo_txt"],
        image_size=image_size,
        fit=fit,
        on_bad=on_bad,
        leaks=leaks,
        cache=cache,
    )


def _names(folder: Path, listed: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes; an empty list if no file has them."""
    if (path := folder / "classes.txt").is_file():
        names = [line.strip() for line in read_text(path).splitlines()]
        while names and not names[-1]:
            names.pop()
    elif (path := folder / "data.yaml").is_file():
        names = _yaml_names(path, listed)
    else:
        return []
    if not names or not all(names) or len(set(names)) < len(names):
        raise UserError(f"{path}: names of classes must be unique and not empty")
    return names


def _data_yaml(folder: Path) -> Mapping[str, Any]:
    """Return the content of data.yaml; empty if there is none."""
    path = folder / "data.yaml"
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # too deep, or an invalid date
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else f"{path}"
        problem = getattr(error, "problem", None) or first_line(error)
        raise UserError(f"{place}: not well-formed YAML ({problem})") from error
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
    """Return the numbers of the classes as their names; `_object` reports invalid ones."""
    most = 0
    for text in texts:
        for line in _lines(text):
            number = line.split()[0] if line.strip() else ""
            if number.isdecimal() and len(number) < 10:
                if int(number) >= _MOST_CLASSES:
                    raise UserError(f"{text}: class {number} is too large without names; list them in classes.txt")
                most = max(most, int(number))
    return [str(number) for number in range(most + 1)]


def _readers(part: Part, names: list[str]) -> list[Annotate]:
    return [
        *(partial(_annotation, path, text, names) for path, text in part.texts.items()),
        *(partial(_refuse_orphan, path, part.images) for path in part.orphans),
    ]


def _refuse_orphan(path: Path, images: Path) -> Annotation:
    raise UserError(f"{path}: no image of this name in {str(images)!r}")


def _annotation(path: Path, text: Path, names: list[str]) -> Annotation:
    lines = enumerate(_lines(text), 1)
    things = [_object(line, f"{text}, line {number}", names) for number, line in lines if line.strip()]
    return Annotation(path, None, things, lambda: str(text), relative=True)


def _object(line: str, where: str, names: list[str]) -> Object:
    words = line.split()
    if len(words) != 5:
        raise UserError(f"{where}: expected `class cx cy w h`, not {len(words)} words")
    try:
        cx, cy, width, height = map(float, words[1:])
    except ValueError:
        raise UserError(f"{where}: {line.strip()!r} contains a value that is not a number") from None
    if not words[0].isdecimal() or len(words[0]) > 9 or int(words[0]) >= len(names):
        raise UserError(f"{where}: unknown class {words[0]!r}; there are {len(names)} classes, counted from 0")
    box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    return Object(box, int(words[0]), False, lambda: where)


def _lines(path: Path) -> list[str]:
    return read_text(path).splitlines() if path.exists() else []
