"""The parts files in use, and which of them this user has used before.

A parts file is used because somebody typed it: `parts=./mine.py`, or the variable DLZOO_PARTS. Its hash is then
recorded in the user's data folder. A run directory has copies of the parts files of its run: a copy with a recorded
hash is imported; another one is code from somebody else, and is imported only after `--trust` recorded its hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from platformdirs import user_data_path

from dlzoo.core.errors import UserError
from dlzoo.core.files import write_atomically
from dlzoo.core.parts_file import PartsFile

P = ParamSpec("P")
R = TypeVar("R")

#: The key of the words that name parts files, and environment variables: files to use, hashes to trust.
KEY, _FILES, _TRUSTED = "parts", "DLZOO_PARTS", "DLZOO_TRUSTED_PARTS"

#: What identifies all entries that no package has: hashes of parts files, and a count of registrations in this process.
State = tuple[tuple[str, ...], int]

_in_use: list[tuple[PartsFile, ...]] = []
_registered = 0


@contextmanager
def typed_parts(words: Iterable[str]) -> Iterator[list[str]]:
    """Use the parts files that words such as parts=./a.py,./b.py name, inside the context; yield the other words.

    Raises:
        UserError: for a word that names none, or a string instead of a list.
    """
    if isinstance(words, str):
        raise UserError(f"settings must be a list of strings, such as [{words!r}], not a string")
    words = list(words)
    named = [word.partition("=")[2] for word in words if word.partition("=")[0] == KEY]
    paths = [path.strip() for word in named for path in word.removeprefix("[").removesuffix("]").split(",")]
    if not all(paths):
        raise UserError("parts= names no file; type parts=./mine.py")
    files = _read(paths)
    for file in files:
        trust(file)
    with using(files):
        yield [word for word in words if word.partition("=")[0] != KEY]


def in_use() -> tuple[PartsFile, ...]:
    """Return the parts files in use."""
    return _in_use[-1] if _in_use else typed_in_environment()


@cache
def typed_in_environment() -> tuple[PartsFile, ...]:
    """Return the parts files in DLZOO_PARTS, which separates paths as PATH does.

    Raises:
        UserError: if one of them cannot be read.
    """
    paths = [path for path in os.environ.get(_FILES, "").split(os.pathsep) if path]
    files = tuple(_read(paths))
    for file in files:
        trust(file)
    return files


@contextmanager
def using(files: Sequence[PartsFile], *, only: bool = False) -> Iterator[None]:
    """Use parts files inside the context, beside those in use before, or `only` these.

    Raises:
        UserError: if two of them have the same name.
    """
    before = () if only else in_use()
    new = [file for file in files if file.sha256 not in {other.sha256 for other in before}]
    by_name: dict[str, PartsFile] = {}
    for file in (*before, *new):
        if by_name.setdefault(file.name, file) is not file:
            raise UserError(f"parts: {by_name[file.name].path} and {file.path} have the same name; rename one of them")
    _in_use.append((*before, *new))
    try:
        yield
    finally:
        _in_use.pop()


def count_registration() -> None:
    """Note that something was registered in this process, by no package and no parts file."""
    global _registered
    _registered += 1


def state() -> State:
    """Return what identifies all entries that no package has."""
    return tuple(file.sha256 for file in in_use()), _registered


def cached(function: Callable[P, R]) -> Callable[P, R]:
    """Cache the results of a function of entries: each state of the parts in use has its own."""

    @cache
    def in_state(state: State, *args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return in_state(state(), *args, **kwargs)  # pyright: ignore[reportArgumentType]

    return call


def trust(file: PartsFile) -> None:
    """Record that this user has used a parts file.

    If the folder cannot be written, runs with the file need --trust.
    """
    with suppress(OSError):
        record = _record_of(file)
        if not record.exists():
            record.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(record, f"{file.origin}\n")


def is_trusted(file: PartsFile) -> bool:
    """Return whether this user has used a parts file before, or whoever started this process."""
    return file.sha256 in os.environ.get(_TRUSTED, "").split(",") or _record_of(file).exists()


def environment_for(files: Iterable[PartsFile]) -> dict[str, str]:
    """Return the environment variables with which another process, on any machine, trusts these files."""
    hashes = [file.sha256 for file in files]
    return {_TRUSTED: ",".join(hashes)} if hashes else {}


def describe_error(error: BaseException) -> str | None:
    """Return the file, line and message of an error that was raised in a parts file in use; None for another error."""
    return next((said for file in in_use() if (said := file.describe_error(error))), None)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that was raised in a parts file, or by what it called, into a line that says where.

    Raises:
        UserError: for such an error.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if said := describe_error(error):
            raise UserError(said) from error
        raise


def _record_of(file: PartsFile) -> Path:
    return user_data_path("dlzoo") / "parts" / file.sha256


def _read(paths: Iterable[str]) -> list[PartsFile]:
    return [PartsFile.read(Path(os.path.expanduser(path)).absolute()) for path in dict.fromkeys(paths)]
