"""Your own data in COCO's JSON format, with its regions as masks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.data.annotations.coco_file import categories_of, group_by_image, read_files, refuse_image
from dlzoo.data.annotations.coco_layout import ImageFolder, find_images
from dlzoo.data.annotations.json_file import JsonFile
from dlzoo.data.datasets.image_folder import ImageSize
from dlzoo.data.leaks import Leaks
from dlzoo.data.mask_set import IGNORED, MaskSet
from dlzoo.data.storage.cache import Cache
from dlzoo.data.storage.value_range import ValueRange, check_conversion
from dlzoo.tasks.segmentation.datasets.coco_regions import region_of
from dlzoo.tasks.segmentation.datasets.mask_coding import Coding, Naming, make_coding
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask
from dlzoo.tasks.segmentation.datasets.mask_images import Crop, Masks, OnBad, mask_set
from dlzoo.tasks.segmentation.datasets.mask_scan import Found, Pair
from dlzoo.tasks.segmentation.datasets.regions import Region

#: The class of pixels in no region, also that of a category of this name.
_BACKGROUND = "background"
#: What a pixel in regions of two classes is: ignored, or of the class of the smaller region.
Overlap = Literal["ignore", "smallest"]


@DATASETS.register(
    "coco_masks", source="Lin et al., arXiv:1405.0312; cocodataset.org, data format", model="unet_tiny", augment="flip",
    tasks=("segment",), counts="dlzoo.data.annotations.coco_file:count_images",
    defaults="dlzoo.tasks.segmentation.datasets.own_masks:defaults",
)  # fmt: skip
def coco_masks(
    *,
    cache: Cache,
    root: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    images: str | None = None,
    image_size: ImageSize | None = None,
    crop: Crop | None = None,
    overlap: Overlap = "ignore",
    ignore: tuple[str, ...] = (),
    merge: tuple[str, ...] = (),
    background: str = "white",
    range: ValueRange = "auto",
    on_bad: OnBad = "error",
    leaks: Leaks = "warn",
) -> MaskSet:
    """Images in `root` with regions in COCO's JSON files, polygons or RLE, as a class for each pixel.

    Files and images are found as with data=coco_json. The classes are "background", where no region is, and the
    categories of train. A pixel in regions of two classes is ignored, as in torchvision's reference training of
    segmentation, or with `overlap` smallest of the class of the smaller region. Crowds (iscrowd) are ignored.

    The longer side of an image is resized to `image_size` pixels; null keeps the sizes. `crop` is the side of random
    windows that are trained on; null trains on whole images. `ignore` lists classes that are neither trained on nor
    measured. `merge` lists texts such as car+bus:vehicle, which make one class of several.

    Raises:
        UserError: if the folder is missing, or for the first bad image or mask, with its file.
    """
    if not root:
        raise UserError("data=coco_masks needs data.root=<folder with annotations/ and images>")
    check_conversion(background, range)
    folder = Path(os.path.expanduser(root))
    if not folder.is_dir():
        raise UserError(f"data.root: folder not found: {root!r}")
    files = read_files(folder, {"train": train, "val": val, "test": test})
    coding, known = _classes(files, ignore, merge)
    parts = {part: _pairs(file, known[part], part, folder, images, overlap) for part, file in files.items()}
    key = ["coco_masks", overlap, *(f"{part}={file.path}" for part, file in files.items())]
    return mask_set(
        Masks(parts, lambda samples: coding, folder, key), cache=cache, image_size=image_size, crop=crop, on_bad=on_bad,
        leaks=leaks, background=background, value_range=range,
    )  # fmt: skip


def _classes(
    files: Mapping[str, JsonFile], ignore: Sequence[str], merge: Sequence[str]
) -> tuple[Coding, dict[str, dict[int, int | None]]]:
    """Return the classes, and by split the id of each category -> class; None for one that train does not have."""
    categories = {part: categories_of(file) for part, file in files.items()}
    names = [_BACKGROUND, *(name for name in categories["train"].values() if name != _BACKGROUND)]
    labels = {name: place + (place >= IGNORED) for place, name in enumerate(names)}
    naming = Naming(
        names, {label: place for place, label in enumerate(labels.values())}, source=str(files["train"].path)
    )
    known = {part: {number: labels.get(name) for number, name in each.items()} for part, each in categories.items()}
    return make_coding(naming, ignore, merge), known


def _pairs(
    file: JsonFile, known: Mapping[int, int | None], part: str, folder: Path, images: str | None, overlap: Overlap
) -> Found:
    """Return the images of a file with functions that draw their masks, and what is wrong with others.

    Args:
        known: id of a category -> class; None for a category that train does not have.
    """
    members, missing = group_by_image(file)
    base = find_images(file, part, folder, images)
    problems: list[str] = []
    for number, index in missing.items():
        try:
            refuse_image(file, index, number)
        except UserError as error:
            problems.append(str(error))
    pairs: dict[Path, Pair] = {}
    for index, mine in enumerate(members.values()):
        where = partial(file.where, "images", index)
        try:
            path = _path(file, index, base)
            if path in pairs:
                raise UserError(f"{where()}: another image has the same file_name")
            pairs[path] = Pair(path, file.path, partial(_draw, file, index, mine, known, overlap), where)
        except UserError as error:
            problems.append(str(error))
    return Found(list(pairs.values()), problems)


def _path(file: JsonFile, index: int, base: ImageFolder) -> Path:
    name = file.get("images", index, "file_name", str)
    try:
        return base.path(name)
    except UserError as error:
        raise UserError(f"{file.where('images', index)}: {error}") from error


def _draw(
    file: JsonFile,
    index: int,
    members: Sequence[int],
    known: Mapping[int, int | None],
    overlap: Overlap,
    size: tuple[int, int],
) -> StoredMask:
    """Return the mask of an image: the class of the regions of each pixel.

    Args:
        size: width and height of the image, for a file that does not say them.
    """
    # Programs write 0 or -1 for a size that they do not know.
    annotated = [file.optional("images", index, key, int) or 0 for key in ("width", "height")]
    width, height = annotated if min(annotated) > 0 else size
    if (width, height) not in (size, size[::-1]):
        raise UserError(f"{file.where('images', index)}: the annotated size is {width}x{height} pixels, but the image"
                        f" has {size[0]}x{size[1]}")  # fmt: skip
    regions: list[tuple[Region, int]] = []
    crowds: list[Region] = []
    for member in members:
        label = _label(file, member, known)
        region = region_of(file, member, height, width)
        if file.optional("annotations", member, "iscrowd", int, bool):
            crowds.append(region)
        else:
            regions.append((region, label))
    mask = np.zeros((height, width), np.uint16)
    if overlap == "smallest":
        for region, label in sorted(regions, key=lambda each: -int(each[0].sum())):
            mask[region] = label
    else:
        _draw_apart(mask, regions)
    drawn = np.logical_or.reduce([region for region, _ in regions]) if regions else np.zeros_like(mask, bool)
    for crowd in crowds:
        mask[crowd & ~drawn] = IGNORED
    return StoredMask(mask)


def _draw_apart(mask: NDArray[np.uint16], regions: Sequence[tuple[Region, int]]) -> None:
    """Draw regions on a mask, 255 where those of two classes overlap."""
    drawn = np.zeros_like(mask, bool)
    for region, label in regions:
        clash = region & drawn & (mask != label)
        mask[region & ~drawn] = label
        mask[clash] = IGNORED
        drawn |= region


def _label(file: JsonFile, index: int, known: Mapping[int, int | None]) -> int:
    category = file.get("annotations", index, "category_id", int)
    label = known.get(category)
    if label is None:
        raise UserError(f"{file.where('annotations', index)}: unknown category_id {category}; the classes are the"
                        " categories of train")  # fmt: skip
    return label
