"""Where COCO's files of a folder are, and the images that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlzoo.core.errors import UserError
from dlzoo.data.annotations.json_file import JsonFile
from dlzoo.data.part_names import PART_WORDS, part_of, subfolders

#: Places of the file of a split: COCO's, Roboflow's, and two plain ones.
PLACES = ("annotations/instances_{}*.json", "{}/_annotations.coco.json", "annotations/{}*.json", "{}.json")

#: What a file name that is no plain path below its folder has.
_UNUSUAL = re.compile(r"^/|^[A-Za-z][A-Za-z0-9+.-]*:|\\|\.\.")
#: File names of elsewhere -> what they are, and what to do.
_FOREIGN = {
    r"[A-Za-z][A-Za-z0-9+.-]+://": "a URL; download the images and write their names instead",
    r"[A-Za-z]:[\\/]|\\": "a path of Windows; write paths relative to the folder of the images instead",
    r"/": "an absolute path, but no file here; write paths relative to the folder of the images instead",
}


def find_file(folder: Path, part: str, name: str | None) -> Path | None:
    """Return the file of a split: the named one, or the only one found."""
    if name is not None:
        if not os.path.isfile(folder / name):
            raise UserError(f"data.{part}: no file {name!r} in {str(folder)!r}")
        return folder / name
    for place in PLACES:
        spelled = [spelling for word in PART_WORDS[part] for spelling in (word, word.capitalize(), word.upper())]
        files = sorted({path for word in spelled for path in folder.glob(place.format(word))})
        if len(files) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in files)
            raise UserError(f"data.root: {names} could each be {part}; set data.{part} to one of them")
        if files:
            return files[0]
    return None


def find_files(folder: Path, names: Mapping[str, str | None]) -> dict[str, Path]:
    """Return part -> its file, of those that there are."""
    found = {part: find_file(folder, part, name) for part, name in names.items()}
    return {part: path for part, path in found.items() if path is not None}


class ImageFolder(NamedTuple):
    """The folder of the file names in a COCO file.

    Attributes:
        place: the folder that they are relative to.
        bounds: folders outside of which no image is read.
    """

    place: Path
    bounds: Sequence[Path]

    def path(self, name: str) -> Path:
        """Return the path of a file name.

        Raises:
            UserError: if it is a URL, a path of another machine, or outside the bounds.
        """
        if not _UNUSUAL.search(name):
            return self.place / name
        path = _join(self.place, name)
        if ".." in path.parts:
            path = Path(os.path.normpath(path))
        if foreign := _foreign(path, name):
            raise UserError(f"the file_name {name!r} is {foreign}")
        if not _is_inside(path, self.bounds):
            raise UserError(
                f"the file_name {name!r} leads out of {' and '.join(map(str, self.bounds))}; set data.images to a"
                " folder that contains it"
            )
        return path


def find_images(file: JsonFile, part: str, folder: Path, images: str | None) -> ImageFolder:
    """Return the folder of the images of a file: the first that holds one of them.

    A folder called like the file or the part comes first: another part may have images of the same names beside it.
    """
    bases = [folder / images] if images is not None else [file.path.parent, folder / "images", folder]
    stem = file.path.stem.removeprefix("instances_")
    inside = [path for base in bases for path in subfolders(base) if part_of(path.name) == part]
    places = list(dict.fromkeys([*(base / stem for base in bases), *inside, *bases]))
    absolute = False
    for index in range(len(file.rows("images"))):
        name = file.get("images", index, "file_name", str)
        if os.path.isabs(name):
            absolute = absolute or os.path.isfile(name)
            continue
        for place in places:
            if os.path.isfile(_join(place, name)):
                return ImageFolder(place, bases)
    if absolute:
        return ImageFolder(bases[0], bases)
    first = file.get("images", 0, "file_name", str)
    where, searched = file.where("images", 0), ", ".join(map(str, places))
    if foreign := _foreign(places[0] / first, first):
        raise UserError(f"{where}: the file_name {first!r} is {foreign}")
    raise UserError(f"{where}: no image {first!r} in {searched}; set data.images to its folder")


def _join(place: Path, name: str) -> Path:
    """Return the path of a file name in a folder; a backslash separates folders if no file has it in its name."""
    path = place / name
    if "\\" in name and not os.path.isfile(path):
        return place / name.replace("\\", "/").lstrip("/")
    return path


def _foreign(path: Path, name: str) -> str:
    """Return what a file name of elsewhere is, and what to do; "" for others."""
    kind = next((kind for pattern, kind in _FOREIGN.items() if re.match(pattern, name)), "")
    return kind if kind and not os.path.isfile(path) else ""


def _is_inside(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a path is in one of the folders, as it is written or with links followed."""
    forms = (os.path.abspath, os.path.realpath)
    return any(Path(form(path)).is_relative_to(form(folder)) for form in forms for folder in folders)
