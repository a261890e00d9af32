"""Data sets that were given to `dlzoo.train` as objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from dlzoo.core.errors import UserError
from dlzoo.core.given import given as objects
from dlzoo.core.given import missing
from dlzoo.core.registries import DATASETS
from dlzoo.core.rng import keeping_generators
from dlzoo.core.schema import Bounds
from dlzoo.data.given_set import GivenSet
from dlzoo.data.split import Split
from dlzoo.data.storage.given_images import GivenImages
from dlzoo.data.storage.items import Items, Layout, Target

Workers = Annotated[int, Bounds(minimum=0, maximum=256)]

_SOURCE = "the program that calls dlzoo.train(data=...)"
#: Items that are read twice, to find out whether they repeat.
_TWICE = 4


@DATASETS.register("given", source=_SOURCE, hidden=True)
def given(*, class_name: str | None = None, workers: Workers = 0) -> GivenSet:
    """The data sets of dlzoo.train(data=...), with a class for each image

    `workers`: processes that read items ahead; they change the speed, never a result.
    """
    parts = _parts(class_name, workers)
    targets = {part: items.targets() for part, items in parts.items()}
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if not isinstance(target, int) or target < 0:
                raise UserError(f"{items.where(row)}: the target is {_typed(target)}, not a class, an integer >= 0, as"
                                " that of item 0 of the training data")  # fmt: skip
    largest = max(target for target in targets["train"] if isinstance(target, int))
    names = _class_names(parts["train"].dataset) or tuple(map(str, range(largest + 1)))
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if isinstance(target, int) and target >= len(names):
                raise UserError(f"{items.where(row)}: the target is {target}, but the training data has"
                                f" {len(names)} classes, from 0; list all in its attribute classes")  # fmt: skip
    if len(names) < 2:
        raise UserError("the training data has one class; two or more are needed")
    labels = {part: torch.tensor(each, dtype=torch.int64) for part, each in targets.items()}
    return _given_set(parts, targets, labels, names, "classify")


@DATASETS.register("given_numbers", source=_SOURCE, hidden=True, tasks=("regress",))
def given_numbers(*, class_name: str | None = None, workers: Workers = 0) -> GivenSet:
    """The data sets of dlzoo.train(data=...), with numbers to predict for each image

    `workers`: processes that read items ahead; they change the speed, never a result.
    """
    parts = _parts(class_name, workers)
    targets = {part: items.targets() for part, items in parts.items()}
    first = targets["train"][0]
    count = 1 if isinstance(first, int) else len(first)
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if isinstance(target, int) or len(target) != count:
                raise UserError(f"{items.where(row)}: the target is {_typed(target)}, but that of item 0 of the"
                                f" training data has {count} number(s), as floats")  # fmt: skip
    labels = {part: torch.tensor(each, dtype=torch.float64).view(-1, count) for part, each in targets.items()}
    names = ("target",) if count == 1 else tuple(f"target {place + 1}" for place in range(count))
    return _given_set(parts, targets, labels, names, "regress")


def _parts(class_name: str | None, workers: int) -> dict[str, Items]:
    """Return the items of train, test and, of three data sets, val.

    Raises:
        UserError: if no data sets are given in this process, or one is empty.
    """
    data = objects().data
    if data is None:
        raise missing("data", class_name)
    names = ("train", "val", "test") if len(data) == 3 else ("train", "test")
    parts = {name: Items(dataset, name, workers) for name, dataset in zip(names, data, strict=True)}
    for items in parts.values():
        if not len(items):
            raise UserError(f"the {items.name} is empty")
    return parts


def _class_names(dataset: Any) -> tuple[str, ...]:
    """Return the names of the classes in the attribute `classes`, also of a subset; () without them."""
    names = getattr(dataset, "classes", None)
    if names is None and hasattr(dataset, "dataset"):
        return _class_names(dataset.dataset)
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()


def _typed(target: Target) -> str:
    return str(target if isinstance(target, int) else target[0] if len(target) == 1 else list(target))


def _given_set(
    parts: Mapping[str, Items],
    targets: Mapping[str, list[Target]],
    labels: Mapping[str, Tensor],
    names: tuple[str, ...],
    task: str,
) -> GivenSet:
    """Return the data set, after reading some items of each part, twice: they must fit together.

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
                         " cannot be repeated to the bit")  # fmt: skip
        splits[part] = Split(GivenImages(items, targets[part], layout, images.rows, repeats=repeats), labels[part])
    return GivenSet(splits["train"], splits["test"], names, splits.get("val"), task, tuple(notes))
