"""Your own images with masks: folders of images and of masks with equal names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.mask_set import IGNORED, MaskSet
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.value_range import ValueRange, check_conversion
from dlzoo.tasks.segmentation.datasets.class_files import find_class_file, read_colours, read_names
from dlzoo.tasks.segmentation.datasets.mask_check import BINARY, naming_of_values
from dlzoo.tasks.segmentation.datasets.mask_coding import Coding, Naming, colours_of, make_coding
from dlzoo.tasks.segmentation.datasets.mask_file import palette_of
from dlzoo.tasks.segmentation.datasets.mask_images import Crop, Masks, OnBad, Sample, mask_set
from dlzoo.tasks.segmentation.datasets.mask_layout import find_folders, pair_files
from dlzoo.tasks.segmentation.datasets.mask_scan import Scan

#: A value of a mask.
Value = Annotated[int, Bounds(minimum=0, maximum=255)]


@DATASETS.register(
    "mask_folder", source="the layout of images with masks", model="unet_tiny", augment="flip", tasks=("segment",),
    counts="dlzoo.tasks.segmentation.datasets.mask_layout:count_images",
    defaults="dlzoo.tasks.segmentation.datasets.own_masks:defaults",
)  # fmt: skip
def mask_folder(
    *,
    cache: Cache,
    root: str | None = None,
    image_size: ImageSize | None = None,
    crop: Crop | None = None,
    classes: str | None = None,
    colours: str | None = None,
    ignore: tuple[Value | str, ...] = (),
    merge: tuple[str, ...] = (),
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> MaskSet:
    """Images of any size in images/ and for each one a mask of the same name in masks/, in root/{train,val,test}.

    root/images/{train,val,test} and root/masks/{train,val,test} work as well. Without test, val is the test split;
    without both, or with all images directly in root/images, a fixed fifth of train. Masks are palette or grey PNG
    files with a number for each pixel, 255 where the class is not known, or with `colours` RGB.

    The longer side of an image is resized to `image_size` pixels; null keeps the sizes. `crop` is the side of random
    windows that are trained on; null trains on whole images.

    `classes` names a file with the name of a class in each line, the first for 0; null means root/classes.txt, and
    "background", "class 1", ... without it. `colours` names a file with lines `name red green blue`, by which masks are
    read instead. `ignore` lists names of classes or values of masks that are neither trained on nor measured. `merge`
    lists texts such as car+bus:vehicle, which make one class of several.

    Raises:
        UserError: if the folder is missing, or for the first bad image or mask, with its file.
    """
    if not root:
        raise UserError("data=mask_folder needs data.root=<folder with images/ and masks/>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder {root!r} does not exist")
    naming = _read_naming(folder, classes, colours)
    masks = _masks(folder, naming, ignore, merge, by_colour=colours is not None)
    return mask_set(
        masks, cache=cache, image_size=image_size, crop=crop, on_bad=on_bad, leaks=leaks, background=background,
        value_range=range,
    )  # fmt: skip


def _masks(
    folder: Path, naming: Naming | None, ignore: Sequence[int | str], merge: Sequence[str], *, by_colour: bool
) -> Masks:
    if naming is not None:
        make_coding(naming, ignore, merge)  # a slip in the settings is an error before any mask is read
    parts = {part: pair_files(each, by_colour=by_colour) for part, each in find_folders(folder).items()}
    code, key = partial(_coding, naming, ignore, merge), ["mask_folder", str(by_colour)]
    return Masks(parts, code, folder, key, naming is not None, "the masks" if naming is None else naming.source)


def _read_naming(folder: Path, classes: str | None, colours: str | None) -> Naming | None:
    """Return the classes that files name; None if there is no such file."""
    if classes is not None and colours is not None:
        raise UserError("data.classes and data.colours both name the classes; leave one of them out")
    if path := find_class_file(folder, colours, "data.colours"):
        return read_colours(path)
    path = find_class_file(folder, classes, "data.classes")
    usual = folder / "classes.txt"
    return read_names(path or usual) if path or usual.is_file() else None


def _coding(
    naming: Naming | None, ignore: Sequence[int | str], merge: Sequence[str], samples: Sequence[Sample]
) -> Coding:
    """Return the classes of the values of masks, and their colours in the palette of the first mask, if it has one."""
    if naming is not None and naming.is_colour:
        return make_coding(naming, ignore, merge)
    numbers = [sample.scan for sample in samples if not sample.scan.is_colour]
    notes = []
    if _is_binary(naming, numbers, ignore):
        names = ["background", "class 1"] if naming is None else naming.names
        naming = Naming(names, {0: 0, IGNORED: 1}, source="the masks" if naming is None else naming.source)
        notes = [f"the masks have the values 0 and 255: 255 is read as {names[1]!r}; data.ignore=[255] leaves these"
                 " pixels out instead"]  # fmt: skip
    elif naming is None:
        # RGB masks without a colour table are reported, each with its file.
        values = {value for scan in numbers for value in scan.values}
        naming = naming_of_values(values, ignore) if numbers else Naming(["0", "1"], {0: 0, 1: 1}, source="the masks")
    colours = colours_of(naming.values, palette_of(samples[0].pair.mask), len(naming.names))
    return make_coding(replace(naming, colours=colours), ignore, merge, notes)


def _is_binary(naming: Naming | None, scans: Sequence[Scan], ignore: Sequence[int | str]) -> bool:
    """Return whether 255 is the second of two classes: masks have no other values, and it is not to be ignored."""
    if IGNORED in ignore or str(IGNORED) in ignore or (naming is not None and len(naming.names) != 2):
        return False
    return {value for scan in scans for value in scan.values} == BINARY
