"""Text files beside images, and which files beside images are none."""

from __future__ import annotations

from pathlib import Path

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text
from dlzoo.data.datasets.image_folder import list_images

#: Suffixes of files beside images that are no images.
BESIDE = {".txt", ".npy", ".json", ".xml", ".md", ".csv", ".yaml", ".yml", ".cache"}


def images_in(folder: Path) -> list[Path]:
    """Return the files in a folder, without texts, notes and arrays that programs put beside the images."""
    return [path for path in list_images(str(folder)) if path.suffix.lower() not in BESIDE]


def read_list(path: Path) -> dict[str, str]:
    """Return the names that a text file lists, one a line -> their place in the file.

    Raises:
        UserError: if it cannot be read, lists nothing, or a name twice.
    """
    numbers: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        name = line.strip()
        if name in numbers:
            raise UserError(f"{path}, line {number}: {name!r} is already in line {numbers[name]}")
        if name:
            numbers[name] = number
    if not numbers:
        raise UserError(f"{path}: the list is empty")
    return {name: f"{path}, line {number}" for name, number in numbers.items()}


def read_class_names(path: Path) -> list[str]:
    """Return the names of the classes in a text file, one a line.

    Raises:
        UserError: if it cannot be read, or names are missing or not unique.
    """
    names = [line.strip() for line in read_text(path).splitlines()]
    while names and not names[-1]:
        names.pop()
    return check_class_names(path, names)


def check_class_names(path: Path, names: list[str]) -> list[str]:
    """Return the names of the classes in a file.

    Raises:
        UserError: if some are missing or not unique.
    """
    if not names or not all(names) or len(set(names)) < len(names):
        raise UserError(f"{path}: names of classes must be unique and not empty")
    return names
