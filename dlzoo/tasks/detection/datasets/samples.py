"""Annotations of images, checked against their images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from dlzoo.core.errors import UserError
from dlzoo.data.storage.image_file import open_image
from dlzoo.data.transforms.letterbox import upright_size

#: Pixels by which a box may extend beyond its image: annotations are rounded.
_TOLERANCE = 1.0


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
        polygons: the number of objects that are polygons or rotated boxes in the file.
        number: its id in the data set, if that has one.
        remark: where the annotation names another image, and which one; "" if it does not.
    """

    path: Path
    size: tuple[int, int] | None
    objects: Sequence[Object]
    where: Callable[[], str]
    relative: bool = False
    polygons: int = 0
    number: int | None = None
    remark: str = ""


#: Reads the annotation of one image; raises a UserError if it is invalid.
Annotate = Callable[[], Annotation]


class Sample(NamedTuple):
    """A checked image.

    Attributes:
        path: the image file.
        size: its width and height.
        as_stored: whether these are the stored ones, before rotation by EXIF.
        rows: (m, 6) its objects as labels, in pixels of the image.
        bad_boxes: error messages for the boxes that were clipped or left out.
        polygons: the number of objects that are polygons or rotated boxes in the file.
        repeated: the places in the file of objects that are there once more.
        number: its id in the data set, if that has one.
        remark: that of the annotation.
    """

    path: Path
    size: tuple[int, int]
    as_stored: bool
    rows: torch.Tensor
    bad_boxes: Sequence[str]
    polygons: int
    repeated: Sequence[Callable[[], str]]
    number: int | None
    remark: str = ""


def known_size(width: float | None, height: float | None) -> tuple[int, int] | None:
    """Return an annotated size, None if it stands for an unknown one: programs write 0, -1 or null."""
    return (int(width), int(height)) if width and height and min(width, height) > 0 else None


def check_sample(annotate: Annotate, *, clip: bool, once: bool = False) -> Sample | UserError:
    """Return a checked image, or the error for a bad one.

    Args:
        annotate: reads the annotation.
        clip: whether boxes that leave their image are clipped, and those without area left out.
        once: whether objects that are there once more are left out.
    """
    try:
        annotation = annotate()
        size, as_stored = _size(annotation)
    except UserError as error:
        return error
    checked = [_row(thing, size, annotation.relative) for thing in annotation.objects]
    problems = [problem for _, problem in checked if problem]
    if problems and not clip:
        return UserError(f"{problems[0]}; data.on_bad=clip clips such boxes or leaves them out")
    known: dict[tuple[float, ...], Callable[[], str]] = {}
    rows = [row for row, _ in checked if row]
    repeated = [
        thing.where
        for thing, (row, _) in zip(annotation.objects, checked, strict=True)
        if row and known.setdefault(tuple(row), thing.where) is not thing.where
    ]
    labels = torch.tensor(list(known) if once else rows).view(-1, 6)
    polygons, number, remark = annotation.polygons, annotation.number, annotation.remark
    return Sample(annotation.path, size, as_stored, labels, problems, polygons, repeated, number, remark)


def _size(annotation: Annotation) -> tuple[tuple[int, int], bool]:
    """Return the image's width and height, and whether these are the stored ones, before rotation by EXIF."""
    if not os.path.isfile(annotation.path):  # also for a name that is too long
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


def _row(thing: Object, size: tuple[int, int], relative: bool) -> tuple[list[float], str]:
    """Return the object as a row of labels (6,), in pixels of its image, empty if it has no area there; and what is
    wrong with it, or "".
    """
    limits = (*size, *size)
    box = [edge * limit for edge, limit in zip(thing.box, limits, strict=True)] if relative else list(thing.box)
    if not all(map(math.isfinite, box)):
        return [], f"{thing.where()}: the box has coordinates that are not finite"
    if box[2] <= box[0] or box[3] <= box[1]:
        return [], f"{thing.where()}: the box has no area"
    clipped = [min(max(edge, 0.0), limit) for edge, limit in zip(box, limits, strict=True)]
    out = max(abs(edge - kept) for edge, kept in zip(box, clipped, strict=True))
    outside = clipped[2] <= clipped[0] or clipped[3] <= clipped[1]
    problem = ""
    if out > _TOLERANCE or outside:
        unit = "; coordinates must be relative to its size, from 0 to 1" if relative else ""
        problem = f"{thing.where()}: the box lies outside its image of {size[0]}x{size[1]} pixels{unit}"
    return [] if outside else [*clipped, thing.label, thing.difficult], problem
