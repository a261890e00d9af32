"""The items of data sets that were given to `dlzoo.train` as objects, and the splits that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.given import given as objects
from dlzoo.core.given import missing
from dlzoo.core.rng import keeping_generators
from dlzoo.data.split import Split
from dlzoo.data.storage.given_images import GivenImages
from dlzoo.data.storage.items import Items, Layout, Target
from dlzoo.data.transforms.letterbox import Fit

#: The source of the entries.
SOURCE = "the program that calls dlzoo.train(data=...)"
#: Items that are read twice, to find out whether they repeat.
_TWICE = 4


def items_of_parts(class_name: str | None, workers: int, canvas: tuple[int, Fit] | None = None) -> dict[str, Items]:
    """Return the items of train, test and, of three data sets, val; `canvas` as Items take it.

    Raises:
        UserError: if no data sets are given in this process, or one is empty.
    """
    data = objects().data
    if data is None:
        raise missing("data", class_name)
    names = ("train", "val", "test") if len(data) == 3 else ("train", "test")
    parts = {name: Items(dataset, name, workers, canvas) for name, dataset in zip(names, data, strict=True)}
    for items in parts.values():
        if not len(items):
            raise UserError(f"the {items.name} is empty")
    return parts


def class_names(dataset: Any) -> tuple[str, ...]:
    """Return the names of the classes in the attribute `classes`, also of a subset; () without them."""
    names = getattr(dataset, "classes", None)
    if names is None and hasattr(dataset, "dataset"):
        return class_names(dataset.dataset)
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def splits_of(
    parts: Mapping[str, Items], targets: Mapping[str, Sequence[Target]], labels: Mapping[str, Tensor]
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Return the split of each part, and notes, after reading some items of each, twice: they must fit together.

    Raises:
        UserError: if an item cannot be read, or differs in size or type from the first one.
    """
    with keeping_generators():
        image, _ = parts["train"].read(0, 0)
    layout = Layout((image.shape[0], image.shape[1], image.shape[2]), image.dtype)
    splits, notes = {}, []
    for part, items in parts.items():
        images = GivenImages(items, targets[part], layout, torch.arange(len(items)))
        some = torch.arange(min(_TWICE, len(items))) * len(items) // min(_TWICE, len(items))
        repeats = torch.equal(images.read(some), images.read(some))
        if not repeats:
            notes.append(f"data: the {items.name} differs when an item is read twice with the same seeds: it draws from"
                         " a generator of its own (torch's, NumPy's and Python's global ones are seeded), so that runs"
                         " cannot be repeated bit for bit")  # fmt: skip
        splits[part] = Split(GivenImages(items, targets[part], layout, images.rows, repeats=repeats), labels[part])
    return splits, tuple(notes)
