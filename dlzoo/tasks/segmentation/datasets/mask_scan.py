"""What is in the masks of a data set: their sizes, and how many pixels have each value before and after resizing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlzoo.core.errors import UserError
from dlzoo.core.files import is_transient
from dlzoo.data.storage.decode import map_with_progress
from dlzoo.data.storage.image_file import open_image, orientation
from dlzoo.data.storage.remember import digest, remember, stamp_of
from dlzoo.data.transforms.letterbox import resized, upright_size
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask, unpack_colour

#: The most values of a mask that are kept, the most frequent ones: a mask of classes has fewer.
_KEPT = 4096
#: Values that a message shows.
_SHOWN = 6


class Pair(NamedTuple):
    """An image and its mask.

    Attributes:
        image: the image file.
        mask: the mask's file, or that of the annotations.
        read: width and height of the image -> its mask.
        where: the place in the files that messages name.
    """

    image: Path
    mask: Path
    read: Callable[[tuple[int, int]], StoredMask]
    where: Callable[[], str]


class Found(NamedTuple):
    """The images with masks of a split.

    Attributes:
        pairs: images with their masks.
        problems: what is wrong with images or masks that are in no pair.
    """

    pairs: Sequence[Pair]
    problems: Sequence[str] = ()


class Scan(NamedTuple):
    """What is in the mask of an image.

    Attributes:
        size: width and height of the image and the mask on their canvas.
        as_stored: whether the image is used as it is stored, before rotation by EXIF.
        is_colour: whether the values are colours.
        values: value -> its number of pixels in the file, of at most 4,096 values.
        distinct: the number of different values.
        resized: value -> its number of pixels after resizing.
        lossy: the format of a file that does not keep the values of pixels; "" for others.
        unclear: whether the image is turned by EXIF, and the size does not tell whether the mask is turned with it.
    """

    size: tuple[int, int]
    as_stored: bool
    is_colour: bool
    values: dict[int, int]
    distinct: int
    resized: dict[int, int]
    lossy: str = ""
    unclear: bool = False

    def histogram(self) -> str:
        """Return the most frequent values with their share: "0 (81.2 %), 7 (18.8 %)"."""
        total = sum(self.values.values())
        shown = [
            f"{spell_value(value, is_colour=self.is_colour)} ({count / total:.1%})".replace("%", " %")
            for value, count in list(self.values.items())[:_SHOWN]
        ]
        return ", ".join(shown) + (f" and {self.distinct - _SHOWN:,} more" if self.distinct > _SHOWN else "")


def spell_value(value: int, *, is_colour: bool) -> str:
    """Return a number, or a colour as red, green and blue, for messages."""
    return " ".join(map(str, unpack_colour(value))) if is_colour else str(value)


def scan_masks(
    pairs: Sequence[Pair], image_size: int | None, *, root: Path, key: Sequence[str], stop: bool
) -> list[Scan | str]:
    """Read all masks, and return what is in each, or what is wrong with it.

    The result is kept in the cache folder.

    Args:
        pairs: images with their masks.
        image_size: the longer side of resized images; None for images as they are.
        root, key: the folder of the files, and what identifies these masks.
        stop: whether to raise the first problem.

    Raises:
        UserError: for the first problem, if `stop`.
    """

    def find() -> list[Any]:
        found = []
        for result in map_with_progress(lambda pair: _scan(pair, image_size), pairs, "checking"):
            if isinstance(result, UserError):
                if stop:
                    raise result
                found.append(str(result))
            else:
                found.append([*result._replace(values=[*result.values.items()], resized=[*result.resized.items()])])
        return found

    files = dict.fromkeys(path for pair in pairs for path in (pair.image, pair.mask) if path.is_file())
    rows = digest(f"{pair.image} {pair.mask}" for pair in pairs)
    name = digest([str(root.resolve()), *key, str(image_size)])
    answers = remember("masks as stored", name, f"{rows} {stamp_of(root, list(files))}", find)
    if stop and (problem := next((answer for answer in answers if isinstance(answer, str)), None)):
        raise UserError(problem)
    return [answer if isinstance(answer, str) else _restored(*answer) for answer in answers]


def _restored(*fields: Any) -> Scan:
    scan = Scan(*fields)
    width, height = scan.size
    return scan._replace(size=(width, height), values=dict(scan.values), resized=dict(scan.resized))


def _scan(pair: Pair, image_size: int | None) -> Scan | UserError:
    try:
        if not pair.image.is_file():
            raise UserError(f"{pair.where()}: image not found: {str(pair.image)!r}")
        with open_image(pair.image) as image:
            stored, turned = image.size, upright_size(image)
            unclear = stored == turned and orientation(image) != 1
        mask = pair.read(turned)
        size = mask.values.shape[1], mask.values.shape[0]
        if size not in (stored, turned):
            raise UserError(f"{pair.where()}: the mask has {size[0]}x{size[1]} pixels, but the image {pair.image} has"
                            f" {turned[0]}x{turned[1]}; both must have the same size")  # fmt: skip
    except UserError as error:
        if is_transient(error.__cause__):  # says nothing of the file
            raise
        return error
    counts, smaller = _counts(mask), mask.resize(resized(size, image_size))
    frequent = dict(list(counts.items())[:_KEPT])
    after = counts if smaller is mask else _counts(smaller)
    after = {value: count for value, count in after.items() if value in frequent}
    return Scan(smaller.values.shape[::-1], size != turned, mask.is_colour, frequent, len(counts), after,
                mask.lossy, unclear)  # fmt: skip


def _counts(mask: StoredMask) -> dict[int, int]:
    """Return value -> its number of pixels, the most frequent one first."""
    if mask.is_colour:
        values, counts = np.unique(mask.values, return_counts=True)
    else:
        every = np.bincount(mask.values.ravel())
        values = every.nonzero()[0]
        counts = every[values]
    order = np.argsort(-counts, kind="stable")
    return dict(zip(values[order].tolist(), counts[order].tolist(), strict=True))
