"""A network and data sets that a Python program gives to a run as objects, instead of naming entries of registries.

The configs of such runs name the hidden entries `given`, `given_numbers` and the class of each object; the builders of
these entries take the objects from here. Objects are known inside `giving` only, in the process that has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dlzoo.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

#: The hidden entry for a network, and for data sets with classes.
OBJECT = "given"
#: The choices that an object can make.
CHOICES = ("model", "data")
#: The setting of the hidden entries that names the class of the object.
CLASS = "class_name"


class MapDataset(Protocol):
    """A map-style data set of torch: an item is a pair of an image and its target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Given:
    """The objects of a run, None for what its config describes.

    Args:
        model: the network.
        data: the data sets (train, test) or (train, validation, test).
    """

    model: nn.Module | None = None
    data: Sequence[MapDataset] | None = None

    def classes(self) -> dict[str, str]:
        """Return {"model": "Net", "data": "CIFAR10"}: the names of the classes of what is given."""
        names = {}
        if self.model is not None:
            names["model"] = type(self.model).__name__
        if self.data is not None:
            names["data"] = ", ".join(dict.fromkeys(map(_class_of, self.data)))
        return names


_NOTHING = Given()
_given: ContextVar[Given] = ContextVar("given", default=_NOTHING)


def given() -> Given:
    """Return the objects of the surrounding `giving`."""
    return _given.get()


@contextmanager
def giving(objects: Given) -> Iterator[None]:
    """Let the hidden entries use these objects inside the context."""
    token = _given.set(objects)
    try:
        yield
    finally:
        _given.reset(token)


def classes_in(config: Mapping[str, Any]) -> dict[str, str]:
    """Return {"model": "Net", "data": "CIFAR10"}: the classes of the objects that a config names, or "?"."""
    return {choice: str(config[choice][CLASS] or "?") for choice in CHOICES if CLASS in config.get(choice, {})}


def missing(choice: str, class_name: str | None) -> UserError:
    """Return the error for a hidden entry whose object is not in this process."""
    if not class_name:
        return UserError(f"{choice}=given is not typed: in Python, dlzoo.train({choice}=...) takes an object")
    return UserError(f"{choice} is an object of a Python program ({class_name}), which is not in this process: give it"
                     f" to dlzoo.train({choice}=...)")  # fmt: skip


def _class_of(data_set: object) -> str:
    """Return the name of a class; for a subset, also that of the data set that it is taken from."""
    inner = getattr(data_set, "dataset", None)
    name = type(data_set).__name__
    return name if inner is None else f"{name} of {_class_of(inner)}"
