"""Images with masks, checked against each other, and read together from their files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from dlzoo.core.errors import Note, UserError
from dlzoo.core.schema import Bounds
from dlzoo.data.leaks import Leaks, handle_leaks
from dlzoo.data.mask_set import IGNORED, MaskSet
from dlzoo.data.settings import rows_of_parts
from dlzoo.data.split import Split
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.decode import decode_images, find_unreadable
from dlzoo.data.storage.image_file import Conversion
from dlzoo.data.storage.value_range import ValueRange, conversion_for
from dlzoo.data.transforms.letterbox import GREY, load_image
from dlzoo.tasks.segmentation.datasets.mask_check import problem_of_classes, problem_of_values
from dlzoo.tasks.segmentation.datasets.mask_coding import Coding
from dlzoo.tasks.segmentation.datasets.mask_scan import Found, Pair, Scan, scan_masks

#: A bad image or mask raises an error, or both are left out.
OnBad = Literal["error", "skip"]
#: The side of the windows of images that are trained on.
Crop = Annotated[int, Bounds(minimum=8, maximum=4096)]

_SKIP = "set data.on_bad=skip to leave such images out"


class Sample(NamedTuple):
    """A checked image with its mask."""

    pair: Pair
    scan: Scan


class Masks(NamedTuple):
    """The images with masks of a data set, and how to read them.

    Attributes:
        parts: images with masks by split: train and, if present, val and test.
        code: all of them -> the classes of the values of the masks.
        root, key: the folder of the files, and what identifies these masks below it.
        named: whether the classes have names.
        source: where the classes are from, for messages.
    """

    parts: Mapping[str, Found]
    code: Callable[[Sequence[Sample]], Coding]
    root: Path
    key: Sequence[str]
    named: bool = True
    source: str = "the data set"


def mask_set(
    masks: Masks,
    *,
    cache: Cache,
    image_size: int | None,
    crop: int | None,
    on_bad: OnBad,
    leaks: Leaks,
    background: str = "white",
    value_range: ValueRange = "auto",
) -> MaskSet:
    """Return the images of train and, if present, val and test, checked and ready to be read.

    Without test, val is the test split, or a fifth of train. An image is at the top left of a square canvas whose side
    is the longest one of the split, or `image_size`, to which the longer side is resized.

    Raises:
        UserError: for the first bad image or mask, with its file; for a split without images; for copies.
    """
    samples, coding, skipped = _good_samples(masks, image_size, on_bad)
    parts = handle_leaks(samples, lambda sample: sample.pair.image, leaks, root=masks.root)
    everything = [sample for part in parts.values() for sample in part]
    sizes = {part: len(good) for part, good in parts.items()}
    rows = rows_of_parts(sizes, torch.zeros(len(everything)), masks.root, by_class=False)
    chosen = {part: [everything[row] for row in places.tolist()] for part, places in rows.items()}
    train, paths = ([sample.pair.image for sample in each] for each in (chosen["train"], everything))
    conversion = conversion_for(masks.root, train, paths, background=background, value_range=value_range)
    splits = {part: _split(mine, part, masks, image_size, coding, conversion, cache) for part, mine in chosen.items()}
    _note_what_is_lost(everything, coding, image_size)
    window = None if crop is None else min(crop, splits["train"].images.shape[1])
    return MaskSet(
        splits["train"], splits["test"], coding.classes, splits.get("val"), window, skipped, conversion.known_range,
        coding.colours, coding.notes,
    )  # fmt: skip


def _note_what_is_lost(samples: Sequence[Sample], coding: Coding, image_size: int | None) -> None:
    """Report images that may not fit their masks, and classes that have no pixels after resizing."""
    if unclear := [sample for sample in samples if sample.scan.unclear]:
        warnings.warn(f"{len(unclear)} image(s), such as {unclear[0].pair.image}, are turned by their EXIF orientation;"
                      " sizes do not tell whether their masks must be, too: they are taken to be turned already", Note,
                      stacklevel=3)  # fmt: skip
    before, after = (
        np.sum([coding.counts(getattr(sample.scan, name)) for sample in samples], 0) for name in ("values", "resized")
    )
    lost = [name for name, was, now in zip(coding.classes, before, after, strict=True) if was and not now]
    if lost:
        warnings.warn(f"{len(lost)} of {len(coding.classes)} classes have pixels in the masks, but none when images are"
                      f" resized to data.image_size={image_size}: {', '.join(lost[:5])}; set it higher, or data.crop",
                      Note, stacklevel=3)  # fmt: skip


def _good_samples(masks: Masks, image_size: int | None, on_bad: OnBad) -> tuple[dict[str, list[Sample]], Coding, int]:
    """Return the good images of each split, the classes, and the number of those that were left out."""
    stop = on_bad == "error"
    problems = [problem for part in masks.parts.values() for problem in part.problems]
    if problems and stop:
        raise _refused(problems[0])
    pairs = [pair for part in masks.parts.values() for pair in part.pairs]
    try:
        scans = scan_masks(pairs, image_size, root=masks.root, key=masks.key, stop=stop)
    except UserError as error:
        raise _refused(str(error)) from error
    samples = [Sample(pair, scan) for pair, scan in zip(pairs, scans, strict=True) if isinstance(scan, Scan)]
    problems += [scan for scan in scans if isinstance(scan, str)]
    check = partial(problem_of_values, named=masks.named)
    samples = _without(samples, lambda sample: check(sample.scan), problems, stop=stop)
    if not stop:
        bad = find_unreadable(masks.root, [sample.pair.image for sample in samples], masks.key)
        problems += bad.values()
        samples = [sample for index, sample in enumerate(samples) if index not in bad]
    if not samples:
        raise UserError(f"data.root: no good image with a mask in {str(masks.root)!r}"
                        + (f", the first problem: {problems[0]}" if problems else ""))  # fmt: skip
    coding = masks.code(samples)
    samples = _without(samples, lambda sample: problem_of_classes(sample.scan, coding, masks.source), problems,
                       stop=stop)  # fmt: skip
    if problems:
        warnings.warn(f"{len(problems)} bad image(s) or mask(s) left out, the first: {problems[0]}", Note, stacklevel=3)
    good = {id(sample.pair): sample for sample in samples}
    parts = {part: [good[id(pair)] for pair in mine if id(pair) in good] for part, (mine, _) in masks.parts.items()}
    if empty := next((part for part, mine in parts.items() if not mine), None):
        raise UserError(f"data.root: {empty} has no good image with a mask in {str(masks.root)!r}")
    return parts, coding, len(problems)


def _without(
    samples: Iterable[Sample], problem_of: Callable[[Sample], str], problems: list[str], *, stop: bool
) -> list[Sample]:
    """Return the samples without a problem, and add the problems of others to `problems`, or raise the first one."""
    good = []
    for sample in samples:
        if not (problem := problem_of(sample)):
            good.append(sample)
            continue
        problem = f"{sample.pair.where()}: {problem}"
        if stop:
            raise _refused(problem)
        problems.append(problem)
    return good


def _refused(problem: str) -> UserError:
    return UserError(f"{problem} ({_SKIP})")


def _split(
    samples: Sequence[Sample],
    part: str,
    masks: Masks,
    image_size: int | None,
    coding: Coding,
    conversion: Conversion,
    cache: Cache,
) -> Split:
    side = image_size or max(max(sample.scan.size) for sample in samples)
    by_path = {sample.pair.image: sample for sample in samples}

    def read(path: Path, side: int) -> np.ndarray:
        try:
            return read_pair(by_path[path], side, coding, conversion)
        except UserError as error:
            raise _refused(str(error)) from error

    images = decode_images(
        masks.root, [sample.pair.image for sample in samples], side, cache, read=read, channels=4,
        key=[*masks.key, "masks", part, str(image_size), str(coding), str(conversion)],
        partners=list(dict.fromkeys(map(attrgetter("pair.mask"), samples))),
    )  # fmt: skip
    counts = torch.tensor([coding.counts(sample.scan.resized) for sample in samples])
    return Split(images, counts, torch.tensor([sample.scan.size for sample in samples]), has_masks=True)


def read_pair(sample: Sample, side: int, coding: Coding, conversion: Conversion) -> np.ndarray:
    """Read an image and its mask: (side, side, 4) uint8, red, green, blue and class, at the top left.

    Raises:
        UserError: if a file is not a complete image, or no longer as it was checked.
    """
    pair, (width, height) = sample.pair, sample.scan.size
    image = load_image(pair.image, as_stored=sample.scan.as_stored, conversion=conversion)
    mask = pair.read(image.size)
    if mask.values.shape != (image.height, image.width):
        raise UserError(f"{pair.where()}: the size of the mask, or of its image, has changed")
    canvas = np.full((side, side, 4), GREY, np.uint8)
    canvas[..., 3] = IGNORED
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    canvas[:height, :width, :3] = np.asarray(image)
    canvas[:height, :width, 3] = coding.apply(mask.resize((width, height)))
    return canvas
