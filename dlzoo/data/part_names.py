"""Names of the folders and files that hold the parts of a data set: train, val and test."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from dlzoo.core.errors import UserError
from dlzoo.core.files import reason

#: Part -> the words that name it, in any case, also with a prefix (seg_train) or a year (train2017).
PART_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
#: Files and folders that file managers leave behind, in lower case.
_LITTER = {"thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"}


def part_of(name: str) -> str | None:
    """Return the part that a folder or a file (without its suffix) is named for; None if it is named for none."""
    last = re.split(r"[^a-z]", re.sub(r"[\W_]*\d+$", "", name.lower()))[-1]
    return next((part for part, words in PART_WORDS.items() if last in words), None)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that file managers and notebooks make."""
    return name.startswith(".") or name.lower() in _LITTER


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, except hidden ones, sorted by name; none if it is not a folder.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:  # the folder may hold every image
            return sorted(folder / entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({reason(error)})") from error


def by_part(folders: Iterable[Path]) -> dict[str, Path]:
    """Return part -> its folder, of the folders that are named for a part.

    Raises:
        UserError: if two of them are named for one part.
    """
    named: dict[str, Path] = {}
    for path in folders:
        part = part_of(path.name)
        if part in named:
            raise UserError(f"data.root: {str(named[part])!r} and {str(path)!r} are both named for the {part} part;"
                            " rename or remove one")  # fmt: skip
        if part is not None:
            named[part] = path
    return {part: named[part] for part in PART_WORDS if part in named}
