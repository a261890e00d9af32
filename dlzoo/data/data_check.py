"""Check what the builder of a data set returned: own data sets may return anything."""

from __future__ import annotations

import torch

from dlzoo.core.errors import UserError
from dlzoo.data.data_set import DataSet, TargetKind
from dlzoo.data.split import Split
from dlzoo.data.storage.given_images import GivenImages
from dlzoo.data.storage.lazy_images import LazyImages


def check_type(name: str, data_set: object) -> DataSet:
    """Return what the builder of an entry returned.

    Raises:
        UserError: if it is not a data set.
    """
    if not isinstance(data_set, DataSet):
        raise UserError(f"data={name}: its builder returned {_described(data_set)}, not a data set such as"
                        " dlzoo.ImageSet")  # fmt: skip
    return data_set


def check_splits(name: str, data_set: DataSet, target: TargetKind) -> None:
    """Check types and shapes of the splits of a data set, before anything is computed from them.

    Raises:
        UserError: for the first split that is wrong, with what it has and what is expected.
    """
    channels = None
    for part in ("train", "val", "test"):
        split, where = getattr(data_set, part), f"data={name}: {part}"
        if split is None and part == "val":
            continue
        if not isinstance(split, Split):
            raise UserError(f"{where} is {_described(split)}, not a dlzoo.Split(images, labels)")
        _check_images(where, split, is_uint8=data_set.kind != "table" and not data_set.is_float)
        channels = channels or split.channels
        if split.channels != channels:
            raise UserError(f"{where} has {split.channels} channels, but train has {channels}")
        if not isinstance(split.labels, torch.Tensor):
            raise UserError(f"{where}.labels is {_described(split.labels)}, not a tensor")
        if target.single_class:
            _check_classes(where, split.labels, len(data_set.classes))
        if split.labels.shape[:1] != split.images.shape[:1]:
            raise UserError(f"{where} has {split.images.shape[0]:,} images, but labels of shape"
                            f" {tuple(split.labels.shape)}; each image has one label")  # fmt: skip


def _check_images(where: str, split: Split, *, is_uint8: bool) -> None:
    images = split.images
    if not isinstance(images, (torch.Tensor, LazyImages, GivenImages)):
        raise UserError(f"{where}.images is {_described(images)}, not a tensor (N, H, W, C)")
    if len(images.shape) != 4:
        raise UserError(f"{where}.images has the shape {tuple(images.shape)}, not (N, H, W, C)")
    if is_uint8 and isinstance(images, torch.Tensor) and images.dtype != torch.uint8:
        raise UserError(f"{where}.images has the type {_name(images.dtype)}, not uint8 (0 to 255)")


def _check_classes(where: str, labels: torch.Tensor, classes: int) -> None:
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise UserError(f"{where}.labels has the type {_name(labels.dtype)} and the shape {tuple(labels.shape)}, not"
                        " int64 (N,), a class for each image")  # fmt: skip
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise UserError(f"{where}.labels has values from {int(labels.min())} to {int(labels.max())}, but the"
                        f" {classes} names of classes are for labels from 0 to {classes - 1}")  # fmt: skip


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _described(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
