"""Data sets with objects in their images that were given to `dlzoo.train` as objects of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from dlzoo.boxes.objects import objects, pad_labels
from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.rng import keeping_generators
from dlzoo.core.schema import Bounds
from dlzoo.data.datasets.given import Workers
from dlzoo.data.datasets.given_parts import SOURCE, class_names, items_of_parts, splits_of
from dlzoo.data.given_set import GivenBoxSet
from dlzoo.data.storage.item_objects import ItemObjects
from dlzoo.data.storage.items import Items
from dlzoo.data.transforms.letterbox import Fit, to_canvas


@DATASETS.register("given_objects", source=SOURCE, hidden=True, tasks=("detect",), model="yolo_tiny")
def given_objects(
    *,
    class_name: str | None = None,
    workers: Workers = 0,
    image_size: Annotated[int, Bounds(minimum=16, maximum=4096)] | None = None,
    fit: Fit = "letterbox",
) -> GivenBoxSet:
    """The data sets of dlzoo.train(data=...), with objects in each image

    `workers`: processes that read items ahead; they change the speed, never a result. uint8 images of any size are
    resized to squares of `image_size` pixels, as `fit` says; without it they must be square and of one size.
    """
    parts = items_of_parts(class_name, workers, None if image_size is None else (image_size, fit))
    targets, sizes = {}, {}
    for part, items in parts.items():
        targets[part], sizes[part] = _objects_of(items)
    names = _names(parts, targets)
    labels = {part: pad_labels([target.tensor for target in each]) for part, each in targets.items()}
    if image_size is not None:
        labels = {part: _on_canvas(each, sizes[part], image_size, fit) for part, each in labels.items()}
    splits, notes = splits_of(parts, targets, labels)
    splits = {part: replace(split, sizes=sizes[part]) for part, split in splits.items()}
    if not (objects(labels["train"]).classes == 0).any():
        notes += ("data: no object of the training data has the label 0, which is a class: if 0 is the background, as"
                  " in torchvision, subtract 1 from the labels",)  # fmt: skip
    fit = "stretch" if image_size is None else fit
    return GivenBoxSet(splits["train"], splits["test"], names, splits.get("val"), fit, remarks=notes)


def _objects_of(items: Items) -> tuple[list[ItemObjects], Tensor]:
    """Return the objects of each item, and width and height of its image (N, 2); all items are read.

    Raises:
        UserError: if an item cannot be read, or has another target.
    """
    targets, sizes = [], []
    with keeping_generators():
        for row, seed in enumerate(items.fixed_seeds(torch.arange(len(items)))):
            image, target = items.read_original(row, seed)
            if not isinstance(target, ItemObjects):
                raise UserError(f"{items.where(row)}: the target is {target}, not a dictionary with boxes and labels,"
                                " as that of item 0 of the training data")  # fmt: skip
            targets.append(target)
            sizes.append((image.shape[1], image.shape[0]))
    return targets, torch.tensor(sizes)


def _names(parts: Mapping[str, Items], targets: Mapping[str, Sequence[ItemObjects]]) -> tuple[str, ...]:
    """Return the names of the classes: those of the attribute `classes` of the training data, or their numbers.

    Raises:
        UserError: if an object is of a class that the training data does not have.
    """
    largest = {part: [max((int(row[4]) for row in target.rows), default=-1) for target in each]
               for part, each in targets.items()}  # fmt: skip
    names = class_names(parts["train"].dataset) or tuple(map(str, range(max(largest["train"]) + 1)))
    for part, items in parts.items():
        for row, label in enumerate(largest[part]):
            if label >= len(names):
                raise UserError(f"{items.where(row)}: a label is {label}, but the training data has {len(names)}"
                                " class(es), from 0; list all in its attribute classes")  # fmt: skip
    return names


def _on_canvas(labels: Tensor, sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Return labels (N, M, 6) in pixels of the resized images; rows of no object stay as they are."""
    boxes = to_canvas(labels[..., :4], sizes, side, fit) * objects(labels).there.unsqueeze(-1)
    return torch.cat([boxes, labels[..., 4:]], -1)
