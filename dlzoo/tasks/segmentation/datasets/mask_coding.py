"""Which class a value of a mask is: names, colours, classes that are merged or ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.data.mask_set import IGNORED
from dlzoo.tasks.segmentation.datasets.mask_file import StoredMask, unpack_colour

#: The most classes: 255 is the value of ignored pixels.
MOST_CLASSES = 255
RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Naming:
    """The classes as they are in the masks.

    Args:
        names: the names, in order.
        values: value of a mask -> index of its class.
        is_colour: whether these values are colours.
        colours: the colour of each class, for pictures; () if it is not known.
        source: where the names are from, for messages.
    """

    names: Sequence[str]
    values: Mapping[int, int]
    is_colour: bool = False
    colours: Sequence[RGB] = ()
    source: str = "the classes"


@dataclass(frozen=True)
class Coding:
    """Value of a stored mask -> class, or 255 where it is ignored.

    Args:
        classes: the names of the classes.
        values: value -> class.
        is_colour: whether the values are colours.
        colours: the colour of each class in pictures; () if it is not known.
        notes: notes on the values for the user.
    """

    classes: tuple[str, ...]
    values: Mapping[int, int]
    is_colour: bool = False
    colours: tuple[RGB, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        known = sorted(self.values)
        return np.array(known), np.array([self.values[value] for value in known], np.uint8)

    def apply(self, mask: StoredMask) -> NDArray[np.uint8]:
        """Return the class of each pixel (H, W), 255 where it is ignored."""
        known, classes = self._arrays
        if not self.is_colour:
            table = np.full(1 + max(int(known[-1]), int(mask.values.max(initial=0))), IGNORED, np.uint8)
            table[known] = classes
            return table[mask.values]
        places = np.searchsorted(known, mask.values).clip(max=len(known) - 1)
        return np.where(known[places] == mask.values, classes[places], np.uint8(IGNORED))

    def counts(self, values: Mapping[int, int]) -> list[int]:
        """Return how many pixels each class has: (K,), given those of each value."""
        counts = [0] * len(self.classes)
        for value, count in values.items():
            if (number := self.values[value]) != IGNORED:
                counts[number] += count
        return counts


def make_coding(naming: Naming, ignore: Sequence[int | str] = (), merge: Sequence[str] = (),
                notes: Sequence[str] = ()) -> Coding:  # fmt: skip
    """Return the coding of named values with some classes ignored and some merged.

    Args:
        naming: the classes in the masks.
        ignore: names of classes, or numbers that are values of masks.
        merge: texts such as "car+bus:vehicle"; the new class is at the place of the first of its members.
        notes: notes on the values for the user.

    Raises:
        UserError: for an unknown class, one that is named twice, or if fewer than two classes or more than 255 remain.
    """
    dropped, extra = _ignored(naming, ignore)
    new_names = _merged(naming, merge, dropped)
    kept = [index for index in range(len(naming.names)) if index not in dropped]
    classes = tuple(dict.fromkeys(new_names[index] for index in kept))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise UserError(f"{naming.source}: {len(classes)} class(es) of pixels; 2 to {MOST_CLASSES} are needed, of which"
                        " the background is one")  # fmt: skip
    number = {index: IGNORED if index in dropped else classes.index(new_names[index]) for index in
              range(len(naming.names))}  # fmt: skip
    values = {value: number[index] for value, index in naming.values.items()} | dict.fromkeys(extra, IGNORED)
    if not naming.is_colour:
        values = {IGNORED: IGNORED} | values
    first = {new_names[index]: index for index in reversed(kept)}
    colours = tuple(naming.colours[first[name]] for name in classes) if naming.colours else ()
    return Coding(classes, values, naming.is_colour, colours, tuple(notes))


def _find(name: str, naming: Naming, setting: str) -> int:
    if name not in naming.names:
        raise UserError(f"{setting}: unknown class {name!r}; {did_you_mean(name, naming.names)}")
    return list(naming.names).index(name)


def _ignored(naming: Naming, ignore: Iterable[int | str]) -> tuple[set[int], set[int]]:
    """Return the indices of ignored classes, and ignored values that are of no class."""
    dropped, extra = set(), set()
    for each in ignore:
        if isinstance(each, str) and (each in naming.names or not each.isdecimal()):
            dropped.add(_find(each, naming, "data.ignore"))
        elif naming.is_colour:
            raise UserError(f"data.ignore: {each} is a number, but the masks have colours; name classes of"
                            f" {naming.source}")  # fmt: skip
        elif int(each) in naming.values:
            dropped.add(naming.values[int(each)])
        else:
            extra.add(int(each))
    return dropped, extra


def _merged(naming: Naming, merge: Iterable[str], dropped: set[int]) -> list[str]:
    """Return the new name of each class."""
    names: dict[int, str] = {}
    made: list[str] = []
    for text in merge:
        members, colon, new = (word.strip() for word in text.rpartition(":"))
        if not colon or not new or not members:
            raise UserError(f"data.merge: {text!r} must be the names of classes and a new one, such as car+bus:vehicle")
        for name in map(str.strip, members.split("+")):
            index = _find(name, naming, "data.merge")
            if index in names or index in dropped:
                raise UserError(f"data.merge: {name!r} is already {'ignored' if index in dropped else 'merged'}")
            names[index] = new
        made.append(new)
    kept = [name for index, name in enumerate(naming.names) if index not in names and index not in dropped]
    for new in made:
        if new in kept or made.count(new) > 1:
            raise UserError(f"data.merge: there are two classes {new!r} then; choose another name, or list all of its"
                            " members")  # fmt: skip
    return [names.get(index, name) for index, name in enumerate(naming.names)]


def colours_of(naming_values: Mapping[int, int], palette: Sequence[RGB], classes: int) -> tuple[RGB, ...]:
    """Return the colour of each class in the palette of a mask; () if it does not tell all classes apart."""
    places = {index: value for value, index in naming_values.items()}
    found = [palette[places[index]] for index in range(classes) if index in places and places[index] < len(palette)]
    return tuple(found) if len(set(found)) == classes else ()


def colours_in_table(values: Mapping[int, int]) -> tuple[RGB, ...]:
    """Return the first colour of each class of a colour table."""
    first: dict[int, int] = {}
    for value, index in values.items():
        first.setdefault(index, value)
    return tuple(unpack_colour(first[index]) for index in sorted(first))
