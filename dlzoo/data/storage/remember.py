"""Cache of what was computed from many files: a small JSON file for each answer."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from dlzoo.core.errors import UserError
from dlzoo.core.files import remove_abandoned, unreadable, write_atomically


def remember(what: str, name: str, stamp: str, find: Callable[[], Any]) -> Any:
    """Return what `find` returns, as JSON holds it, from a file in the cache folder if it was found before.

    Of several processes, ranks or runs of a sweep, one calls `find` while the others wait. If the cache folder cannot
    be written, each calls it.

    Args:
        what: what is found out, a word.
        name: identifies the question; a newer answer replaces the older one.
        stamp: identifies the state of the files that the answer is about.
        find: finds the answer.
    """
    path = user_cache_path("dlzoo") / what / f"{name}.json"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(file_lock(path.with_suffix(".lock")))
        except OSError:  # the cache folder cannot be written
            return find()
        with suppress(OSError, ValueError, LookupError, TypeError):  # missing, or damaged
            known = json.loads(path.read_text())
            if known["stamp"] == stamp:
                return known["answer"]
        answer = find()
        with suppress(OSError):
            remove_abandoned(path.parent)
            write_atomically(path, json.dumps({"stamp": stamp, "answer": answer}))
        return answer


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file: ranks, and the runs of a sweep, start at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stamp_of(root: Path, paths: Sequence[Path]) -> str:
    """Return a digest of the paths of files below `root`, their sizes and their times.

    Raises:
        UserError: if one cannot be read, or is no regular file.
    """
    above = f"{os.fspath(root)}{os.sep}"
    return digest(_state(os.fspath(path), above) for path in paths)


def _state(path: str, above: str) -> str:
    try:
        status = os.stat(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file")
    return f"{path.removeprefix(above)} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def digest(lines: Iterable[str]) -> str:
    """Return a hash of lines of text."""
    text = "\n".join(lines)  # at once: there may be a million lines
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
