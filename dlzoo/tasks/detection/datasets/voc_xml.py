"""Your own detection data as XML files in PASCAL VOC's format, as LabelImg writes them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torchvision.datasets.folder import IMG_EXTENSIONS

from dlzoo.core.errors import Note, UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.text_file import BESIDE, read_class_names, read_list
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import ImageSize, list_images
from dlzoo.data.leaks import Leaks
from dlzoo.data.part_names import PART_WORDS, part_of
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import map_with_progress
from dlzoo.data.storage.value_range import ValueRange, check_conversion
from dlzoo.data.transforms.letterbox import Fit
from dlzoo.tasks.detection.datasets.annotations import OnBad, box_set
from dlzoo.tasks.detection.datasets.samples import Annotation
from dlzoo.tasks.detection.datasets.voc_annotation import read_annotation, read_class_names_of

#: Folders of annotations or images, in lower case, in which a file's name is that of its partner in another one.
_KINDS = {"annotations", "xml", "xmls", "labels", "jpegimages", "images", "imgs"}

#: A path below data.root without its suffix and without the folders of _KINDS: what an image and its XML file share.
Key = tuple[str, ...]


class Pair(NamedTuple):
    """An XML file and its image."""

    xml: Path
    image: Path


@DATASETS.register(
    "voc_xml", source="Everingham et al., IJCV 2010; github.com/HumanSignal/labelImg", model="yolov3", augment="yolo",
    tasks=("detect",), counts="dlzoo.tasks.detection.datasets.voc_xml:count_images",
    defaults="dlzoo.tasks.detection.datasets.few_images:defaults",
)  # fmt: skip
def voc_xml(
    *,
    cache: Cache,
    root: str | None = None,
    image_size: ImageSize = 416,
    fit: Fit = "letterbox",
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
    difficult: bool = False,
) -> BoxSet:
    """Images in `root`, each with an XML file in PASCAL VOC's format, as LabelImg writes them, with your own classes.

    An XML file has the name of its image, whatever <filename> says: a note reports those that name another image. It is
    beside the image, or in Annotations with the image in JPEGImages or images. Folders train, val and test, or lists of
    names in ImageSets/Main, are the splits; without test, val is the test split; without both, a fixed fifth of train.
    The classes are named in root/classes.txt, one per line; otherwise they are those of train, by name. Images without
    an XML file are left out. `difficult` trains on objects marked difficult.
    Fewer than 1,000 training images have defaults of their own (docs/detection.md).
    """
    if not root:
        raise UserError("data=voc_xml needs data.root=<folder with images and XML files>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    pairs, parts = _pairs_and_parts(folder)
    if "train" not in parts:
        raise UserError(f"data.root: {root!r} has {' and '.join(parts)}, but not train")
    names = _class_names(folder, [pairs[key].xml for key in parts["train"] if key in pairs])
    labels = {name: label for label, name in enumerate(names)}
    readers = {
        part: [partial(_annotation, folder, key, place, pairs, labels) for key, place in keys.items()]
        for part, keys in parts.items()
    }
    return box_set(
        readers, names, root=folder, key=["voc_xml"], image_size=image_size, fit=fit, on_bad=on_bad, leaks=leaks,
        cache=cache, background=background, value_range=range, difficult=difficult,
    )  # fmt: skip


def count_images(section: Mapping[str, Any]) -> dict[str, int]:
    """Return split -> number of its images, for the settings of the data.

    Raises:
        UserError: if the folder is missing, or its layout is not known.
    """
    folder = Path(os.path.expanduser(section["root"] or ""))
    parts = _pairs_and_parts(folder)[1] if section["root"] and folder.is_dir() else {}
    return {part: len(keys) for part, keys in parts.items()}


def _pairs_and_parts(folder: Path) -> tuple[dict[Key, Pair], dict[str, dict[Key, str]]]:
    """Return the XML files with their images by key, and part -> its keys and their places in a list."""
    files = list_images(str(folder))
    pairs = _pairs(folder, files)
    return pairs, _listed_parts(folder, files) or _part_folders(folder, pairs)


def _pairs(folder: Path, files: Sequence[Path]) -> dict[Key, Pair]:
    """Return the XML files, each with its image, by their keys; a note counts images without one."""
    xmls = _by_key(folder, (path for path in files if path.suffix.lower() == ".xml"))
    images = _by_key(folder, (path for path in files if path.suffix.lower() not in BESIDE))
    if not xmls:
        raise UserError(f"data.root: no XML files in {str(folder)!r}")
    if alone := sorted(key for key in images.keys() - xmls.keys() if images[key].suffix.lower() in IMG_EXTENSIONS):
        warnings.warn(f"{len(alone)} image(s) without an XML file are left out, such as {images[alone[0]]}", Note,
                      stacklevel=2)  # fmt: skip
    return {key: Pair(xml, images.get(key, xml.with_suffix(".jpg"))) for key, xml in xmls.items()}


def _by_key(folder: Path, paths: Iterable[Path]) -> dict[Key, Path]:
    """Return the key of each path -> the path.

    Raises:
        UserError: if two have the same key.
    """
    found: dict[Key, Path] = {}
    for path in paths:
        *folders, name = path.relative_to(folder).with_suffix("").parts
        key = (*(each for each in folders if each.lower() not in _KINDS), name)
        if found.setdefault(key, path) != path:
            raise UserError(
                f"{path} and {found[key]} have the same name, so both could belong to one image; rename one"
            )
    return found


def _listed_parts(folder: Path, files: Iterable[Path]) -> dict[str, dict[Key, str]]:
    """Return part -> key and place in its list, of the lists ImageSets/Main; trainval is train if val has no list."""
    words = {word: part for part, some in PART_WORDS.items() for word in some} | {"trainval": "trainval"}
    parts: dict[str, dict[Key, str]] = {}
    for path in files:
        part = words.get(path.stem.lower())
        if part and path.suffix.lower() == ".txt" and [each.name for each in path.parents[:2]] == ["Main", "ImageSets"]:
            base = path.parents[2].relative_to(folder).parts
            parts.setdefault(part, {}).update({(*base, *name.split("/")): at for name, at in read_list(path).items()})
    both = parts.pop("trainval", {})
    if both and not {"train", "val"} <= parts.keys():
        parts["train"] = both
    return {part: parts[part] for part in PART_WORDS if part in parts}


def _part_folders(folder: Path, pairs: Mapping[Key, Pair]) -> dict[str, dict[Key, str]]:
    """Return part -> the keys of what is in a folder named for it, "" as their place; all are train without."""
    parts: dict[str | None, dict[Key, str]] = {}
    for key in pairs:
        part = next((part for part in map(part_of, key[:-1]) if part), None)
        parts.setdefault(part, {})[key] = ""
    named, rest = {part: parts[part] for part in PART_WORDS if part in parts}, parts.get(None, {})
    if rest and named:
        raise UserError(f"data.root: {str(folder)!r} has {' and '.join(named)}, but {pairs[min(rest)].xml} is in none"
                        " of them; move it into one, or elsewhere")  # fmt: skip
    return named or {"train": rest}


def _class_names(folder: Path, xmls: Sequence[Path]) -> list[str]:
    """Return the names in classes.txt, otherwise those of the objects in `xmls`, sorted."""
    if (path := folder / "classes.txt").is_file():
        return read_class_names(path)
    return sorted(set().union(*map_with_progress(read_class_names_of, xmls, "reading")))


def _annotation(folder: Path, key: Key, place: str, pairs: Mapping[Key, Pair], labels: Mapping[str, int]) -> Annotation:
    if key not in pairs:
        raise UserError(f"{place}: no XML file of the name {'/'.join(key)!r} in {str(folder)!r}")
    return read_annotation(pairs[key].xml, pairs[key].image, labels)
