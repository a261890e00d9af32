"""Which images and text files a folder of YOLO data has, and to which part they belong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from reprlib import repr
from typing import Any, NamedTuple

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.data.annotations.text_file import images_in
from dlzoo.data.datasets.image_folder import list_images
from dlzoo.data.part_names import PART_WORDS, by_part, subfolders


class Part(NamedTuple):
    """Images of a split with the text file of each, and text files without an image."""

    images: Path
    texts: dict[Path, Path]
    orphans: list[Path]


def find_parts(folder: Path, listed: Mapping[str, Any]) -> dict[str, Part]:
    """Return the parts that data.yaml names, and of the others those of the folders named for a part.

    If there are none, all images are train.
    """
    places = _listed_places(folder, listed)
    for part, path in by_part(subfolders(folder / "images")).items():
        places.setdefault(part, [path])
    for part, path in by_part(path for path in subfolders(folder) if (path / "images").is_dir()).items():
        places.setdefault(part, [path / "images"])
    _refuse_overlap(places)
    parts = {part: _part(places[part]) for part in PART_WORDS if part in places}
    if "train" not in parts and parts:
        raise UserError(f"data.root: {str(folder)!r} has {' and '.join(parts)}, but not images/train")
    if not parts:
        if not (folder / "images").is_dir():
            raise UserError(f"data.root: neither images/train nor images in {str(folder)!r}")
        parts["train"] = _part([folder / "images"])
    return parts


def _listed_places(folder: Path, listed: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the folders and text files that data.yaml names for each part; none if it is of another machine.

    Raises:
        UserError: if some of them exist and others do not.
    """
    places: dict[str, list[Path]] = {}
    missing: list[str] = []
    top = listed.get("path") or "."
    if not isinstance(top, str):
        raise UserError(f"{folder / 'data.yaml'}: path must be a folder, not {repr(top)}")
    for part in (part for part in PART_WORDS if listed.get(part)):
        values = [listed[part]] if isinstance(listed[part], str) else listed[part]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise UserError(
                f"{folder / 'data.yaml'}: {part} must be a folder, a text file, or a list of these, not {repr(values)}"
            )
        for value in values:
            # Exports of Roboflow say ../train/images for train/images.
            # An absolute path may be that of another machine, or of the folder that this one is a copy of.
            bases = (folder, Path(top)) if os.path.isabs(top) else (folder / top, folder)
            tried = [base / name for name in (value, value.removeprefix("../")) for base in bases]
            existing = [path for path in tried if os.path.exists(path)]
            if existing and existing[0].resolve() in folder.resolve().parents:
                raise UserError(f"{folder / 'data.yaml'}: {part}: {value} is a folder that contains data.root itself;"
                                " name one in data.root")  # fmt: skip
            places.setdefault(part, []).extend(existing[:1])
            missing += [] if existing else [f"{part}: {value}"]
    if missing and any(places.values()):
        raise UserError(f"{folder / 'data.yaml'}: {missing[0]} does not exist")
    return {} if missing else places


def _refuse_overlap(places: Mapping[str, Sequence[Path]]) -> None:
    """Check that no two parts have the same folder or text file, or one a folder in that of the other."""
    everywhere = [(part, path.resolve()) for part, paths in places.items() for path in paths]
    for (part, path), (other, inner) in permutations(everywhere, 2):
        if part != other and (path == inner or (inner.is_dir() and path in inner.parents)):
            raise UserError(f"data.root: {part} and {other} share the images of {str(inner)!r}; give each its own"
                            " folder, in data.yaml if it names them")  # fmt: skip


def _part(places: Sequence[Path]) -> Part:
    """Return the images in folders, or listed in text files, each with its text file in a folder labels/."""
    texts: dict[Path, Path] = {}
    image_of: dict[Path, Path] = {}
    written: list[Path] = []
    for place in places:
        for path in images_in(place) if place.is_dir() else _listed_images(place):
            text = _text_of(path, place)
            if image_of.setdefault(text, path) != path:
                raise UserError(
                    f"{path} and {image_of[text].name} have the same name, so both would use {text}; rename one"
                )
            texts[path] = text
        if place.is_dir() and (labels := _labels_of(place, place)).is_dir():
            written += [path for path in list_images(str(labels)) if path.suffix.lower() == ".txt"]
    where = " and ".join(f"{str(place)!r}" for place in places)
    if not texts:
        raise UserError(f"data.root: no images in {where}")
    if not any(text.parent.is_dir() for text in image_of):
        labels = str(_labels_of(places[0], places[0]))
        raise UserError(
            f"data.root: there are images in {where}, but neither a folder {labels!r} nor texts beside them"
        )
    # Labelling tools put a list of the classes beside the labels.
    orphans = [path for path in written if path not in image_of and path.name.lower() != "classes.txt"]
    return Part(places[0], texts, orphans)


def _text_of(image: Path, place: Path) -> Path:
    """Return the text file of an image: in labels/, or beside it as LabelImg and Darknet write it."""
    usual = _labels_of(image.parent, place) / f"{image.stem}.txt"
    if usual.exists():
        return usual
    others = (usual.with_suffix(".TXT"), image.with_suffix(".txt"), image.with_suffix(".TXT"))
    return next((path for path in others if path.exists()), usual)


def _labels_of(folder: Path, place: Path) -> Path:
    """Return the folder of the texts of a folder of images: labels for the last folder of its path called images."""
    names = list(folder.parts)
    if "images" in names:
        names[len(names) - 1 - names[::-1].index("images")] = "labels"
        return Path(*names)
    return place.parent / "labels" / folder.relative_to(place.parent)


def _listed_images(file: Path) -> list[Path]:
    """Return the images that a text file lists, one path a line, relative to the file."""
    if not file.is_file():
        raise UserError(f"{file}: neither a folder nor a text file")
    paths = [file.parent / line.strip() for line in read_text(file).splitlines() if line.strip()]
    if missing := [path for path in paths if not os.path.isfile(path)]:
        raise UserError(f"{file}: {len(missing)} of {len(paths)} images do not exist, such as {str(missing[0])!r}")
    return list(dict.fromkeys(paths))
