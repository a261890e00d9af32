"""Pictures with what is said of the objects in them, checked against each other and brought to one size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from dlzoo.boxes.objects import objects, padded
from dlzoo.core.errors import Remark, UserError
from dlzoo.data.box_set import BoxSet
from dlzoo.data.datasets.image_folder import TEST_FRACTION
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decoded, opened, progress, unreadable
from dlzoo.data.transforms.letterbox import Fit, fitted_picture, open_picture, placed, upright_size

#: A bad picture or annotation stops everything, or the whole picture is left out.
OnBad = Literal["error", "skip"]

#: What folders and files of each split are called.
PART_WORDS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}

#: Pixels by which a box may stick out of its picture: annotations are rounded.
_TOLERANCE = 1.0
_SKIP = "data.on_bad=skip leaves such pictures out"


class Object(NamedTuple):
    """One object: x1, y1, x2, y2 from the picture's upper left corner, its class, and where that is written."""

    box: tuple[float, float, float, float]
    label: int
    difficult: bool
    where: Callable[[], str]


class Annotation(NamedTuple):
    """What is said of one picture.

    Attributes:
        size: its width and height, where they are said.
        relative: whether boxes are in parts of the width and the height instead of in pixels.
        where: the place that names the picture or its size.
    """

    path: Path
    size: tuple[int, int] | None
    objects: Sequence[Object]
    where: Callable[[], str]
    relative: bool = False


#: Reads what is said of one picture; raises a UserError where that makes no sense.
Annotate = Callable[[], Annotation]


class _Sample(NamedTuple):
    path: Path
    size: tuple[int, int]
    as_stored: bool
    rows: torch.Tensor


def box_set(
    parts: Mapping[str, Sequence[Annotate]],
    classes: Sequence[str],
    *,
    root: Path,
    key: Sequence[str],
    image_size: int,
    fit: Fit,
    on_bad: OnBad,
    cache: Cache,
    difficult: bool = False,
) -> BoxSet:
    """The pictures of train and, where there are any, val and test, checked and ready to be read.

    Without test, val is the test split; where there is train alone, a fixed fifth of it. Pictures are turned upright as
    their EXIF says, unless their size is said to be the one that they have without that.

    Args:
        parts: what reads the annotation of each picture, by split.
        root: the folder below which the pictures are.
        key: what tells these splits from others below `root`, for the file of decoded pictures.

    Raises:
        UserError: for the first bad picture or annotation, with file and line, or of `on_bad` skip for a split without
            pictures or objects.
    """
    samples, problems = _check_all(parts, on_bad)
    if on_bad == "skip":
        problems += _drop_unreadable(samples, root, cache, key)
    if problems:
        warnings.warn(f"{len(problems)} bad picture(s) left out, the first: {problems[0]}", Remark, stacklevel=2)
    for part, found in samples.items():
        if not any(len(sample.rows) for sample in found):
            raise UserError(f"data.root: {part} has {len(found)} good picture(s) in {str(root)!r}, and no objects")
    everything = _split([sample for found in samples.values() for sample in found], root, key, image_size, fit, cache)
    sizes = {part: len(found) for part, found in samples.items()}
    train, test, val = _cut(everything, sizes, root)
    return BoxSet(train, test, tuple(classes), val, fit, len(problems), difficult)


def _check_all(parts: Mapping[str, Sequence[Annotate]], on_bad: OnBad) -> tuple[dict[str, list[_Sample]], list[str]]:
    """The good pictures of each part, and what is wrong with the others."""
    samples, problems = {part: [] for part in parts}, []
    work = [(part, annotate) for part, readers in parts.items() for annotate in readers]
    for (part, _), found in zip(work, progress(_check, [annotate for _, annotate in work], "checking"), strict=True):
        if isinstance(found, _Sample):
            samples[part].append(found)
        elif on_bad == "error":
            raise UserError(f"{found} ({_SKIP})") from found
        else:
            problems.append(str(found))
    return samples, problems


def _drop_unreadable(samples: dict[str, list[_Sample]], root: Path, cache: Cache, key: Sequence[str]) -> list[str]:
    """Take out of `samples` what cannot be decoded; what is wrong with each of them."""
    paths = [sample.path for found in samples.values() for sample in found]
    bad = {paths[index]: problem for index, problem in unreadable(root, paths, cache, key).items()}
    for found in samples.values():
        found[:] = [sample for sample in found if sample.path not in bad]
    return list(bad.values())


def _check(annotate: Annotate) -> _Sample | UserError:
    try:
        annotation = annotate()
        size, as_stored = _size(annotation)
        rows = [_row(thing, size, annotation.relative) for thing in annotation.objects]
    except UserError as error:
        return error
    return _Sample(annotation.path, size, as_stored, torch.tensor(rows).view(-1, 6))


def _size(annotation: Annotation) -> tuple[tuple[int, int], bool]:
    """The picture's width and height, and whether these are those of a picture that its EXIF would turn."""
    if not annotation.path.is_file():
        raise UserError(f"{annotation.where()}: there is no picture {str(annotation.path)!r}")
    with opened(annotation.path) as image:
        stored, turned = image.size, upright_size(image)
    if annotation.size in (None, turned):
        return turned, False
    if annotation.size != stored:
        said, there = ("{}x{}".format(*size) for size in (annotation.size, turned))
        raise UserError(
            f"{annotation.where()}: the picture is said to have {said} pixels, and {annotation.path} has {there}"
        )
    return stored, True


def _row(thing: Object, size: tuple[int, int], relative: bool) -> list[float]:
    """The object as labels have it, in pixels of its picture."""
    limits = (*size, *size)
    box = [edge * limit for edge, limit in zip(thing.box, limits, strict=True)] if relative else list(thing.box)
    if not all(map(math.isfinite, box)):
        raise UserError(f"{thing.where()}: a box of numbers that are not finite")
    if box[2] <= box[0] or box[3] <= box[1]:
        raise UserError(f"{thing.where()}: a box of no area")
    cut_off = [min(max(edge, 0.0), limit) for edge, limit in zip(box, limits, strict=True)]
    out = max(abs(edge - kept) for edge, kept in zip(box, cut_off, strict=True))
    if out > _TOLERANCE or cut_off[2] <= cut_off[0] or cut_off[3] <= cut_off[1]:
        unit = "; positions are parts of its sides, from 0 to 1" if relative else ""
        raise UserError(f"{thing.where()}: a box outside of its picture, which has {size[0]}x{size[1]} pixels{unit}")
    return [*cut_off, thing.label, thing.difficult]


def _split(
    samples: Sequence[_Sample], root: Path, key: Sequence[str], image_size: int, fit: Fit, cache: Cache
) -> Split:
    sizes = torch.tensor([sample.size for sample in samples])
    labels = padded([sample.rows for sample in samples])
    boxes = placed(labels[..., :4], sizes, image_size, fit)
    labels[..., :4] = boxes * objects(labels).there.unsqueeze(-1)
    as_stored = {sample.path for sample in samples if sample.as_stored}

    def read(path: Path, side: int) -> np.ndarray:
        try:
            return fitted_picture(open_picture(path, as_stored=path in as_stored), side, fit)
        except UserError as error:
            raise UserError(f"{error} ({_SKIP})") from error

    key = (*key, fit, *sorted(map(str, as_stored)))
    images = decoded(root, [sample.path for sample in samples], image_size, cache, read=read, key=key)
    return Split(images, labels, sizes)


def _cut(everything: Split, sizes: Mapping[str, int], root: Path) -> tuple[Split, Split, Split | None]:
    """(train, test, val) of pictures that lie part by part."""
    if len(sizes) == 1:
        train, test = cut(everything, TEST_FRACTION, seed=0, by_class=False)
        if not len(test):
            raise UserError(f"data.root: {len(everything)} pictures are too few to cut a test split from {str(root)!r}")
        return train, test, None
    parts = torch.arange(len(everything)).split(list(sizes.values()))
    splits = {part: everything.take(rows) for part, rows in zip(sizes, parts, strict=True)}
    test = splits.pop("test" if "test" in splits else "val")
    return splits["train"], test, splits.get("val")
