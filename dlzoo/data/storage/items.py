"""Items of a data set that was given as an object: read with seeded generators, checked and converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.given import MapDataset
from dlzoo.core.rng import Streams, keeping_generators, seed_generators
from dlzoo.data.storage.item_objects import ItemObjects, to_objects
from dlzoo.data.transforms.letterbox import Fit, fit_to_square

#: A target: a class, numbers, or objects.
Target = int | tuple[float, ...] | ItemObjects

_IMAGES = "a PIL image, a uint8 array (H, W, C), or a uint8 or float tensor (C, H, W)"
_TARGETS = ("an integer (a class), a float or a float tensor (D,) (numbers to predict), or a dictionary with boxes and"
            " labels (objects)")  # fmt: skip
_NAMES = {"train": "training data", "val": "validation data", "test": "test data"}


@dataclass(frozen=True)
class Layout:
    """What all images of a run have in common: (H, W, C), and whether they are uint8 or float32."""

    shape: tuple[int, int, int]
    dtype: torch.dtype

    def __str__(self) -> str:
        height, width, channels = self.shape
        return f"{channels} x {height} x {width} {'uint8' if self.dtype == torch.uint8 else 'float'}"


@dataclass(frozen=True)
class Items:
    """The items of one part of a given data set.

    They are read in one thread of each process, because their generators are those of the process.

    Args:
        part: "train", "val" or "test".
        workers: processes that read ahead; 0 for none.
        canvas: the side of the square that uint8 images are resized to, and how; None for square images.
    """

    dataset: MapDataset
    part: str
    workers: int = 0
    canvas: tuple[int, Fit] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def name(self) -> str:
        """The name of the part: "training data"."""
        return _NAMES[self.part]

    def where(self, index: int) -> str:
        """Name an item in a message."""
        return f"item {index} of the {self.name}"

    def read(self, index: int, seed: int) -> tuple[Tensor, Target]:
        """Return an item as `read_original`, its image resized to the canvas, or square already: (S, S, C)."""
        image, target = self.read_original(index, seed)
        height, width, channels = image.shape
        if self.canvas is not None:
            if image.dtype != torch.uint8:
                raise UserError(f"{self.where(index)} is a float tensor, but data.image_size={self.canvas[0]} resizes"
                                " uint8 images; leave it out, and resize the images in the data set")  # fmt: skip
            pixels = Image.fromarray(image.numpy() if channels == 3 else image[..., 0].numpy())
            return torch.from_numpy(fit_to_square(pixels, *self.canvas)), target
        if height != width:
            raise UserError(f"{self.where(index)}: the image is {channels} x {height} x {width} (channels x height x"
                            " width), which is not square; images must be square and of one size"
                            f"{resizing(target)}")  # fmt: skip
        return image, target

    def read_original(self, index: int, seed: int) -> tuple[Tensor, Target]:
        """Seed the generators and return an item: the image (H, W, C), uint8 or float32, and its target.

        The caller restores the states of the generators.

        Raises:
            UserError: if the item cannot be read, or is no pair of an image and a target.
        """
        seed_generators(seed)
        try:
            item = self.dataset[index]
        except Exception as error:  # of a user's code
            name = type(error).__name__
            raise UserError(f"{self.where(index)}: __getitem__ raised {name}: {first_line(error)}") from error
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            count = f" of {len(item)}" if isinstance(item, (tuple, list)) else ""
            raise UserError(f"{self.where(index)} is a {type(item).__name__}{count}, not a pair (image, target)")
        image = to_image(item[0], self.where(index))
        if isinstance(item[1], Mapping):
            return image, to_objects(item[1], (image.shape[1], image.shape[0]), self.where(index))
        return image, to_target(item[1], self.where(index))

    def fixed_seeds(self, rows: Tensor) -> list[int]:
        """Return a seed for each of the items, which depends on its index only: in evaluation, nothing changes."""
        return Streams(0).draw(rows, "items").seeds("item")

    def targets(self) -> list[Target]:
        """Return the target of every item: all of them are read, unless a data set of torchvision lists its targets."""
        listed = _listed_targets(self.dataset)
        if listed is not None and len(listed) == len(self):
            return [to_target(target, self.where(index)) for index, target in enumerate(listed)]
        seeds = self.fixed_seeds(torch.arange(len(self)))
        with keeping_generators():
            return [self.read(index, seed)[1] for index, seed in enumerate(seeds)]


def resizing(target: Target) -> str:
    """Return the end of a message about the size of an image: what resizes images with such a target."""
    return "; set data.image_size=416 to resize them" if isinstance(target, ItemObjects) else ""


def _listed_targets(dataset: Any) -> Sequence[Any] | None:
    """Return the targets that a data set of torchvision, or a subset of one, has in a list; None for others."""
    if isinstance(dataset, torch.utils.data.Subset):
        listed = _listed_targets(dataset.dataset)
        return None if listed is None else [listed[index] for index in dataset.indices]
    if not type(dataset).__module__.startswith("torchvision.") or dataset.target_transform is not None:
        return None
    with suppress(AttributeError, TypeError):
        return list(dataset.targets)
    return None


def to_image(image: Any, where: str) -> Tensor:
    """Return an image as (H, W, C), uint8 or float32.

    Raises:
        UserError: if it is of another type, or has no pixels; `where` names the item.
    """
    if isinstance(image, Image.Image):
        if image.mode not in ("L", "RGB"):
            raise UserError(f"{where}: the image has mode {image.mode}, not L or RGB; use image.convert('RGB')")
        image = np.array(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        pixels = torch.from_numpy(np.ascontiguousarray(image)).reshape(*image.shape[:2], -1)
    elif isinstance(image, Tensor) and image.dim() == 3 and (image.dtype == torch.uint8 or image.is_floating_point()):
        pixels = image.detach().as_subclass(Tensor).cpu().permute(1, 2, 0)
    else:
        raise UserError(f"{where}: the image is {_describe(image)}; it must be {_IMAGES}")
    channels = pixels.shape[2]
    if not pixels.numel():
        raise UserError(f"{where}: the image is {_describe(image)}, which has no pixels")
    if pixels.dtype != torch.uint8:
        return pixels.float()
    if channels not in (1, 3):
        raise UserError(f"{where}: the image is {_describe(image)}, with {channels} channels; uint8 images have 1 or 3,"
                        " float tensors any number")  # fmt: skip
    return pixels


def to_target(target: Any, where: str) -> Target:
    """Return a target as a class or as numbers.

    Raises:
        UserError: if it is neither; `where` names the item.
    """
    value = target
    if isinstance(value, (np.ndarray, Tensor)):
        is_float = value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"
        if value.ndim == 0:
            value = value.item()
        elif value.ndim == 1 and is_float:
            return _finite(tuple(map(float, value.tolist())), where)
    if isinstance(value, (Integral, np.bool_)):
        return int(value)
    if isinstance(value, Real):
        return _finite((float(value),), where)
    raise UserError(f"{where}: the target is {_describe(target)}; it must be {_TARGETS}")


def _finite(numbers: tuple[float, ...], where: str) -> tuple[float, ...]:
    if not numbers or not np.isfinite(numbers).all():
        raise UserError(f"{where}: the target {list(numbers)} must be one or more finite numbers")
    return numbers


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    if isinstance(value, Image.Image):
        return f"an image of {value.width} x {value.height} pixels"
    return "None" if value is None else f"a {type(value).__name__}"
