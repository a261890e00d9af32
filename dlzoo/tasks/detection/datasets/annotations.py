"""Annotated images, checked against their annotations and resized to one size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from dlzoo.boxes.objects import objects, pad_labels
from dlzoo.core.errors import Note, UserError
from dlzoo.data.box_set import BoxSet, Source
from dlzoo.data.datasets.image_folder import TEST_FRACTION
from dlzoo.data.leaks import Leaks, count_with_examples, handle_leaks, name_below
from dlzoo.data.settings import cut
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decode_images, find_unreadable, map_with_progress, open_image
from dlzoo.data.transforms.letterbox import Fit, fit_to_square, load_image, to_canvas, upright_size

#: A bad image or annotation raises an error, or the image is left out.
OnBad = Literal["error", "skip"]

#: Pixels by which a box may extend beyond its image: annotations are rounded.
_TOLERANCE = 1.0
_SKIP = "set data.on_bad=skip to leave such images out"


class Object(NamedTuple):
    """One object: x1, y1, x2, y2 from the image's upper left corner, its class, and its place in the file."""

    box: tuple[float, float, float, float]
    label: int
    difficult: bool
    where: Callable[[], str]


class Annotation(NamedTuple):
    """Annotation of one image.

    Attributes:
        path: the image file.
        size: its width and height, or None if the annotation has none.
        objects: the objects.
        where: the place in the file that names the image or its size.
        relative: whether boxes are relative to the width and height instead of in pixels.
        number: its id in the data set, if that has one.
    """

    path: Path
    size: tuple[int, int] | None
    objects: Sequence[Object]
    where: Callable[[], str]
    relative: bool = False
    number: int | None = None


#: Reads the annotation of one image; raises a UserError if it is invalid.
Annotate = Callable[[], Annotation]


class _Sample(NamedTuple):
    path: Path
    size: tuple[int, int]
    as_stored: bool
    rows: torch.Tensor
    repeated: Sequence[Callable[[], str]]
    number: int | None


def box_set(
    parts: Mapping[str, Sequence[Annotate]],
    classes: Sequence[str],
    *,
    root: Path,
    key: Sequence[str],
    image_size: int,
    fit: Fit,
    on_bad: OnBad,
    leaks: Leaks,
    cache: Cache,
    difficult: bool = False,
    categories: Sequence[int] = (),
) -> BoxSet:
    """Return the images of train and, if present, val and test, checked and ready to be read.

    Without test, val is the test split; with train only, a fixed fifth of it is. Images are rotated according to EXIF,
    unless the annotated size is the one before rotation.

    Args:
        parts: functions that read the annotation of each image, by split.
        classes: names of the classes.
        root: the folder that contains the images.
        key: identifies these splits among others below `root`, for the file of decoded images.
        image_size, fit: the size of the images, and how they are resized.
        on_bad: "error", or "skip" to leave bad images out.
        leaks: "error" for images that are in two splits or twice in one and for boxes that are there twice, "warn" to
            report them, or "drop" to leave the copies out.
        cache: where decoded images are kept.
        difficult: whether to train on difficult objects.
        categories: the ids of the classes in the data set, if it has some.

    Raises:
        UserError: for the first bad image or annotation, with file and line; with `on_bad` skip, for a split without
            images or objects; for copies, with `leaks` error.
    """
    samples, problems = _check_all(parts, on_bad, once=leaks == "drop")
    if on_bad == "skip":
        problems += _drop_unreadable(samples, root, cache, key)
    if problems:
        warnings.warn(f"{len(problems)} bad image(s) left out, the first: {problems[0]}", Note, stacklevel=2)
    for part, good in samples.items():
        if not any(len(sample.rows) for sample in good):
            raise UserError(f"data.root: {part} has {len(good)} good image(s) in {str(root)!r}, but no objects")
    samples = handle_leaks(samples, lambda sample: sample.path, leaks, root=root, others=_repeated_boxes(samples))
    everything = [sample for good in samples.values() for sample in good]
    sources = [Source(name_below(sample.path, root), sample.number) for sample in everything]
    sizes = {part: len(good) for part, good in samples.items()}
    train, test, val = _cut(_split(everything, root, key, image_size, fit, cache), sizes, root)
    return BoxSet(train, test, tuple(classes), val, fit, len(problems), difficult, sources, categories)


def _check_all(
    parts: Mapping[str, Sequence[Annotate]], on_bad: OnBad, *, once: bool
) -> tuple[dict[str, list[_Sample]], list[str]]:
    """Return the good images of each split, with each box `once` or as often as it is there; errors for the others."""
    samples, problems = {part: [] for part in parts}, []
    work = [(part, annotate) for part, readers in parts.items() for annotate in readers]
    for (part, _), result in zip(
        work, map_with_progress(partial(_check, once=once), [annotate for _, annotate in work], "checking"), strict=True
    ):
        if isinstance(result, _Sample):
            samples[part].append(result)
        elif on_bad == "error":
            raise UserError(f"{result} ({_SKIP})") from result
        else:
            problems.append(str(result))
    return samples, problems


def _drop_unreadable(samples: dict[str, list[_Sample]], root: Path, cache: Cache, key: Sequence[str]) -> list[str]:
    """Remove samples that cannot be decoded, and return an error message for each."""
    paths = [sample.path for part in samples.values() for sample in part]
    bad = {paths[index]: problem for index, problem in find_unreadable(root, paths, cache, key).items()}
    for part in samples.values():
        part[:] = [sample for sample in part if sample.path not in bad]
    return list(bad.values())


def _repeated_boxes(samples: Mapping[str, Sequence[_Sample]]) -> list[str]:
    """Return a phrase for objects that are there twice, if there are any."""
    places = [where for part in samples.values() for sample in part for where in sample.repeated]
    names = [where() for where in places[:2]] + [""] * (len(places) - 2)
    return [f"{count_with_examples(names, 'box', 'boxes')} there twice"] if names else []


def _check(annotate: Annotate, *, once: bool) -> _Sample | UserError:
    try:
        annotation = annotate()
        size, as_stored = _size(annotation)
        rows = [tuple(_row(thing, size, annotation.relative)) for thing in annotation.objects]
    except UserError as error:
        return error
    seen: set[tuple[float, ...]] = set()
    repeated = []
    for row, thing in zip(rows, annotation.objects, strict=True):
        if row in seen:
            repeated.append(thing.where)
        seen.add(row)
    rows = list(dict.fromkeys(rows)) if once else rows
    return _Sample(annotation.path, size, as_stored, torch.tensor(rows).view(-1, 6), repeated, annotation.number)


def _size(annotation: Annotation) -> tuple[tuple[int, int], bool]:
    """Return the image's width and height, and whether these are the stored ones, before rotation by EXIF."""
    if not annotation.path.is_file():
        raise UserError(f"{annotation.where()}: image not found: {str(annotation.path)!r}")
    with open_image(annotation.path) as image:
        stored, turned = image.size, upright_size(image)
    if annotation.size in (None, turned):
        return turned, False
    if annotation.size != stored:
        annotated, actual = ("{}x{}".format(*size) for size in (annotation.size, turned))
        raise UserError(
            f"{annotation.where()}: the annotated size is {annotated} pixels, but {annotation.path} has {actual}"
        )
    return stored, True


def _row(thing: Object, size: tuple[int, int], relative: bool) -> list[float]:
    """Return the object as a row of labels (6,), in pixels of its image."""
    limits = (*size, *size)
    box = [edge * limit for edge, limit in zip(thing.box, limits, strict=True)] if relative else list(thing.box)
    if not all(map(math.isfinite, box)):
        raise UserError(f"{thing.where()}: the box has coordinates that are not finite")
    if box[2] <= box[0] or box[3] <= box[1]:
        raise UserError(f"{thing.where()}: the box has no area")
    clipped = [min(max(edge, 0.0), limit) for edge, limit in zip(box, limits, strict=True)]
    out = max(abs(edge - kept) for edge, kept in zip(box, clipped, strict=True))
    if out > _TOLERANCE or clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        unit = "; coordinates must be relative to its size, from 0 to 1" if relative else ""
        raise UserError(f"{thing.where()}: the box lies outside its image of {size[0]}x{size[1]} pixels{unit}")
    return [*clipped, thing.label, thing.difficult]


def _split(
    samples: Sequence[_Sample], root: Path, key: Sequence[str], image_size: int, fit: Fit, cache: Cache
) -> Split:
    sizes = torch.tensor([sample.size for sample in samples])
    labels = pad_labels([sample.rows for sample in samples])
    boxes = to_canvas(labels[..., :4], sizes, image_size, fit)
    labels[..., :4] = boxes * objects(labels).there.unsqueeze(-1)
    as_stored = {sample.path for sample in samples if sample.as_stored}

    def read(path: Path, side: int) -> np.ndarray:
        try:
            return fit_to_square(load_image(path, as_stored=path in as_stored), side, fit)
        except UserError as error:
            raise UserError(f"{error} ({_SKIP})") from error

    key = (*key, fit, *sorted(map(str, as_stored)))
    images = decode_images(root, [sample.path for sample in samples], image_size, cache, read=read, key=key)
    return Split(images, labels, sizes, torch.arange(len(labels)))


def _cut(everything: Split, sizes: Mapping[str, int], root: Path) -> tuple[Split, Split, Split | None]:
    """Return (train, test, val) of images that are ordered by split."""
    if len(sizes) == 1:
        train, test = cut(everything, TEST_FRACTION, seed=0, by_class=False)
        if not len(test):
            raise UserError(f"data.root: {len(everything)} images in {str(root)!r} are too few to split off a test set")
        return train, test, None
    parts = torch.arange(len(everything)).split(list(sizes.values()))
    splits = {part: everything.take(rows) for part, rows in zip(sizes, parts, strict=True)}
    test = splits.pop("test" if "test" in splits else "val")
    return splits["train"], test, splits.get("val")
