"""Files with the names of the classes of masks, and with their colours."""

from __future__ import annotations

import os
from pathlib import Path

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.data.annotations.text_file import read_class_names
from dlzoo.tasks.segmentation.datasets.mask_coding import Naming, colours_in_table
from dlzoo.tasks.segmentation.datasets.mask_file import pack_colour, unpack_colour


def read_names(path: Path) -> Naming:
    """Return the classes that a text file names, one a line: the first line is the value 0 of a mask.

    Raises:
        UserError: if it names none, or one twice.
    """
    names = read_class_names(path)
    return Naming(names, {number: number for number in range(len(names))}, source=str(path))


def read_colours(path: Path) -> Naming:
    """Return the classes of a text file with lines `name red green blue`; several lines may have one name.

    Raises:
        UserError: with the line, if one has another form, a number above 255, or the colour of another line.
    """
    lines: dict[int, int] = {}
    values: dict[int, int] = {}
    names: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{path}, line {number}"
        if len(words) < 4 or not all(word.isdecimal() and len(word) < 4 and int(word) < 256 for word in words[-3:]):
            raise UserError(f"{where}: {line.strip()!r} must be `name red green blue` with numbers from 0 to 255")
        name, colour = " ".join(words[:-3]), pack_colour(*map(int, words[-3:]))
        if colour in lines:
            shown = " ".join(map(str, unpack_colour(colour)))
            raise UserError(f"{where}: the colour {shown} is already in line {lines[colour]}")
        lines[colour] = number
        if name not in names:
            names.append(name)
        values[colour] = names.index(name)
    if not names:
        raise UserError(f"{path}: no line `name red green blue`")
    return Naming(names, values, is_colour=True, colours=colours_in_table(values), source=str(path))


def find_class_file(folder: Path, name: str | None, setting: str) -> Path | None:
    """Return the path of a named file, below the folder or as it is; None without a name.

    Raises:
        UserError: if there is no such file.
    """
    if name is None:
        return None
    places = [folder / os.path.expanduser(name), Path(os.path.expanduser(name))]
    found = next((path for path in places if os.path.isfile(path)), None)
    if found is None:
        raise UserError(f"{setting}: no file {name!r}, here or in {str(folder)!r}")
    return found
