"""Files of equal content among many: compared by size, then by a few bytes, and in full only where these agree."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from dlzoo.core.files import is_transient, unreadable
from dlzoo.data.storage.decode import map_with_progress
from dlzoo.data.storage.remember import digest, remember

#: Bytes from the middle of a file that are compared before whole files: headers are alike, pixels are not.
_MIDDLE = 4096
#: Up to this many files are read again each time, which takes milliseconds; of more, the result is cached.
_FEW = 1000
#: Files that a thread reads at a time.
_CHUNK = 64

Groups = list[list[int]]


def number_contents(paths: Sequence[Path]) -> list[int]:
    """Return a number for each of `paths`: equal for files of equal content, which is the index of the first of them.

    A file that cannot be read is equal to itself only. The result for many files is cached by their paths, sizes and
    times, so that ranks and the runs of a sweep compare them once.
    """
    first: dict[Path, int] = {}
    by_path = [first.setdefault(path, index) for index, path in enumerate(paths)]
    files = {index: os.fspath(path) for path, index in first.items()}
    states = {index: state for index, path in files.items() if (state := _state(path)) is not None}
    alike = _refine([list(states)], (state.st_size for state in states.values()))
    if sum(map(len, alike)) <= _FEW:
        copies = _find_copies(files, alike)
    else:
        stamp = digest(f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}" for state in states.values())
        known = remember("copies", digest(files.values()), stamp, lambda: _find_copies(files, alike))
        copies = {int(copy): first for copy, first in known.items()}
    return [copies.get(index, index) for index in by_path]


def _state(path: str) -> os.stat_result | None:
    """Return the status of a regular file; None for others, of which reading some would wait for ever."""
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def _find_copies(paths: dict[int, str], alike: Groups) -> dict[int, int]:
    """Return copy -> the first file of its content, among groups of files of equal size."""
    for read in (_middle, _whole):
        members = [paths[index] for group in alike for index in group]
        chunks = [members[start : start + _CHUNK] for start in range(0, len(members), _CHUNK)]
        if chunks:
            keys = map_with_progress(lambda chunk, read=read: [read(path) for path in chunk], chunks, "comparing")
            alike = _refine(alike, chain.from_iterable(keys))
    return {index: group[0] for group in alike for index in group[1:]}


def _refine(groups: Groups, keys: Iterable[Hashable]) -> Groups:
    """Divide groups by the keys of all their members in order, leaving out what is alone, or has the key None."""
    refined: Groups = []
    remaining: Iterator[Hashable] = iter(keys)
    for group in groups:
        members: dict[Hashable, list[int]] = defaultdict(list)
        for index, key in zip(group, remaining, strict=False):
            if key is not None:
                members[key].append(index)
        refined += [each for each in members.values() if len(each) > 1]
    return refined


def _middle(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(max(0, (os.fstat(file.fileno()).st_size - _MIDDLE) // 2))
            return hashlib.blake2b(file.read(_MIDDLE), digest_size=8).digest()
    except OSError as error:
        if is_transient(error):
            raise unreadable(path, error) from error
        return None


def _whole(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
    except OSError as error:
        if is_transient(error):
            raise unreadable(path, error) from error
        return None
