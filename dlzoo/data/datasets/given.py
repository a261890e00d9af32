"""Data sets that were given to `dlzoo.train` as objects."""

from __future__ import annotations

from typing import Annotated

import torch

from dlzoo.core.errors import UserError
from dlzoo.core.registries import DATASETS
from dlzoo.core.schema import Bounds
from dlzoo.data.datasets.given_parts import SOURCE, class_names, items_of_parts, splits_of
from dlzoo.data.given_set import GivenSet
from dlzoo.data.storage.item_objects import ItemObjects
from dlzoo.data.storage.items import Target

Workers = Annotated[int, Bounds(minimum=0, maximum=256)]


@DATASETS.register("given", source=SOURCE, hidden=True)
def given(*, class_name: str | None = None, workers: Workers = 0) -> GivenSet:
    """The data sets of dlzoo.train(data=...), with a class for each image

    `workers`: processes that read items ahead; they change the speed, never a result.
    """
    parts = items_of_parts(class_name, workers)
    targets = {part: items.targets() for part, items in parts.items()}
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if not isinstance(target, int) or target < 0:
                raise UserError(f"{items.where(row)}: the target is {_typed(target)}, not a class, an integer >= 0, as"
                                " that of item 0 of the training data")  # fmt: skip
    largest = max(target for target in targets["train"] if isinstance(target, int))
    names = class_names(parts["train"].dataset) or tuple(map(str, range(largest + 1)))
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if isinstance(target, int) and target >= len(names):
                raise UserError(f"{items.where(row)}: the target is {target}, but the training data has"
                                f" {len(names)} classes, from 0; list all in its attribute classes")  # fmt: skip
    if len(names) < 2:
        raise UserError("the training data has one class; two or more are needed")
    labels = {part: torch.tensor(each, dtype=torch.int64) for part, each in targets.items()}
    splits, notes = splits_of(parts, targets, labels)
    return GivenSet(splits["train"], splits["test"], names, splits.get("val"), "classify", notes)


@DATASETS.register("given_numbers", source=SOURCE, hidden=True, tasks=("regress",))
def given_numbers(*, class_name: str | None = None, workers: Workers = 0) -> GivenSet:
    """The data sets of dlzoo.train(data=...), with numbers to predict for each image

    `workers`: processes that read items ahead; they change the speed, never a result.
    """
    parts = items_of_parts(class_name, workers)
    targets = {part: items.targets() for part, items in parts.items()}
    first = targets["train"][0]
    count = 1 if isinstance(first, int) else len(first)  # decided which entry it is
    for part, items in parts.items():
        for row, target in enumerate(targets[part]):
            if isinstance(target, (int, ItemObjects)) or len(target) != count:
                raise UserError(f"{items.where(row)}: the target is {_typed(target)}, but that of item 0 of the"
                                f" training data has {count} number(s), as floats")  # fmt: skip
    labels = {part: torch.tensor(each, dtype=torch.float64).view(-1, count) for part, each in targets.items()}
    names = ("target",) if count == 1 else tuple(f"target {place + 1}" for place in range(count))
    splits, notes = splits_of(parts, targets, labels)
    return GivenSet(splits["train"], splits["test"], names, splits.get("val"), "regress", notes)


def _typed(target: Target) -> str:
    if isinstance(target, ItemObjects):
        return f"{len(target.rows)} object(s)"
    return str(target if isinstance(target, int) else target[0] if len(target) == 1 else list(target))
