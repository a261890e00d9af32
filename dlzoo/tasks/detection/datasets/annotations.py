"""Annotated images, checked against their annotations and resized to one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dlzoo.boxes.objects import objects, pad_labels
from dlzoo.core.errors import Note, UserError
from dlzoo.data.box_set import BoxSet, Source
from dlzoo.data.leaks import Leaks, count_with_examples, handle_leaks, name_below
from dlzoo.data.settings import rows_of_parts
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decode_images, find_unreadable, map_with_progress
from dlzoo.data.storage.image_file import Conversion
from dlzoo.data.storage.value_range import ValueRange, conversion_for
from dlzoo.data.transforms.letterbox import Fit, fit_to_square, load_image, to_canvas
from dlzoo.tasks.detection.datasets.samples import Annotate, Sample, check_sample

#: A bad image or annotation raises an error, or the image is left out; or only the box, or what of it is outside.
OnBad = Literal["error", "skip", "clip"]

_SKIP = "set data.on_bad=skip to leave such images out"


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
    background: str = "white",
    value_range: ValueRange = "auto",
    difficult: bool = False,
    categories: Sequence[int] = (),
) -> BoxSet:
    """Return the images of train and, if present, val and test, checked and ready to be read.

    Without test, val is the test split, or a fifth of train. Images are rotated by EXIF, unless annotated otherwise.

    Args:
        parts: functions that read the annotation of each image, by split.
        classes, categories: names of the classes, and their ids in the data set, if it has some.
        root, key: the folder of the images, and what identifies these splits below it, for the decoded images.
        image_size, fit, difficult: the size of the images, how they are resized, and whether difficult objects count.
        on_bad: "error"; "skip" to leave bad images out; "clip" to clip bad boxes or leave them out, and skip otherwise.
        leaks: whether images in two splits or twice in one, and duplicate boxes, are errors or left out.
        cache, background, value_range: where decoded images are kept, how transparent and 16-bit ones are read.

    Raises:
        UserError: for the first bad image or annotation, with file and line; for a split without objects; for copies.
    """
    samples, problems = _good_samples(parts, root, key, on_bad, cache, leaks)
    everything = [sample for good in samples.values() for sample in good]
    sizes = {part: len(good) for part, good in samples.items()}
    rows = rows_of_parts(sizes, torch.zeros(len(everything)), root, by_class=False)
    paths = [sample.path for sample in everything]
    train = [paths[row] for row in rows["train"].tolist()]
    conversion = conversion_for(root, train, paths, background=background, value_range=value_range)
    whole = _split(everything, root, key, image_size, fit, cache, conversion)
    splits = {part: whole.take(chosen) for part, chosen in rows.items()}
    made = BoxSet(splits["train"], splits["test"], tuple(classes), splits.get("val"), fit, len(problems))
    sources = [Source(name_below(sample.path, root), sample.number) for sample in everything]
    return replace(made, value_range=conversion.known_range, difficult=difficult, sources=sources,
                   categories=categories)  # fmt: skip


def _good_samples(
    parts: Mapping[str, Sequence[Annotate]], root: Path, key: Sequence[str], on_bad: OnBad, cache: Cache, leaks: Leaks
) -> tuple[dict[str, list[Sample]], list[str]]:
    """Return the good images of each split, and error messages for those that were left out."""
    samples, problems = _check_all(parts, on_bad, once=leaks == "drop")
    if on_bad != "error":
        problems += _drop_unreadable(samples, root, key)
    for note in _notes(samples, problems):
        warnings.warn(note, Note, stacklevel=3)
    for part, good in samples.items():
        if not any(len(sample.rows) for sample in good):
            raise UserError(f"data.root: {part} has {len(good)} good image(s) in {str(root)!r}, but no objects")
    samples = handle_leaks(samples, attrgetter("path"), leaks, root=root, others=_repeated_boxes(samples))
    return samples, problems


def _notes(samples: Mapping[str, Sequence[Sample]], problems: Sequence[str]) -> Iterator[str]:
    """Yield what was left out or changed: images (`problems`), boxes, and polygons."""
    boxes = [problem for good in samples.values() for sample in good for problem in sample.bad_boxes]
    polygons = sum(sample.polygons for good in samples.values() for sample in good)
    if problems:
        yield f"{len(problems)} bad image(s) left out, the first: {problems[0]}"
    if boxes:
        yield f"{len(boxes)} bad box(es) clipped or left out, the first: {boxes[0]}"
    remarks = [sample.remark for good in samples.values() for sample in good if sample.remark]
    if remarks:
        yield (f"{len(remarks)} annotation(s) name another image than the one of their own name, which is used, the"
               f" first: {remarks[0]}")  # fmt: skip
    if polygons:
        yield f"{polygons} polygon(s) or rotated box(es) are read as the upright boxes around them"


def _repeated_boxes(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Return a phrase for duplicate objects, if there are any."""
    places = [where for part in samples.values() for sample in part for where in sample.repeated]
    examples = [where() for where in places[:2]]
    return [f"{count_with_examples(len(places), examples, 'box', 'boxes')} duplicated"] if places else []


def _check_all(
    parts: Mapping[str, Sequence[Annotate]], on_bad: OnBad, *, once: bool
) -> tuple[dict[str, list[Sample]], list[str]]:
    """Return the good images of each split, with each box `once` or as often as it is there; errors for the others."""
    samples, problems = {part: [] for part in parts}, []
    work = [(part, annotate) for part, readers in parts.items() for annotate in readers]
    check = partial(check_sample, clip=on_bad == "clip", once=once)
    results = map_with_progress(check, [annotate for _, annotate in work], "checking")
    for (part, _), result in zip(work, results, strict=True):
        if isinstance(result, Sample):
            samples[part].append(result)
        elif on_bad == "error":
            raise UserError(f"{result} ({_SKIP})") from result
        else:
            problems.append(str(result))
    return samples, problems


def _drop_unreadable(samples: dict[str, list[Sample]], root: Path, key: Sequence[str]) -> list[str]:
    """Remove samples that cannot be decoded, and return an error message for each."""
    paths = [sample.path for part in samples.values() for sample in part]
    bad = {paths[index]: problem for index, problem in find_unreadable(root, paths, key).items()}
    for part in samples.values():
        part[:] = [sample for sample in part if sample.path not in bad]
    return list(bad.values())


def _split(
    samples: Sequence[Sample],
    root: Path,
    key: Sequence[str],
    image_size: int,
    fit: Fit,
    cache: Cache,
    conversion: Conversion,
) -> Split:
    sizes = torch.tensor([sample.size for sample in samples])
    labels = pad_labels([sample.rows for sample in samples])
    boxes = to_canvas(labels[..., :4], sizes, image_size, fit)
    labels[..., :4] = boxes * objects(labels).there.unsqueeze(-1)
    as_stored = {sample.path for sample in samples if sample.as_stored}

    def read(path: Path, side: int) -> np.ndarray:
        try:
            image = load_image(path, as_stored=path in as_stored, conversion=conversion)
            return fit_to_square(image, side, fit)
        except UserError as error:
            raise UserError(f"{error} ({_SKIP})") from error

    key = (*key, fit, str(conversion), *sorted(map(str, as_stored)))
    images = decode_images(root, [sample.path for sample in samples], image_size, cache, read=read, key=key)
    return Split(images, labels, sizes, torch.arange(len(labels)))
