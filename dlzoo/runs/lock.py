"""Locks on files, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

#: Locks that this process holds. A forked child must release them, or it would hold them longer than its parent.
_held: set[int] = set()


def _release_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)


class Lock:
    """Lock on a file, which ends with the process, even after kill -9.

    It locks a file, not the folder: on NFS only files opened for writing can be locked.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        _held.add(descriptor)

    @classmethod
    def on(cls, path: Path, tries: int) -> Lock | None:
        """Return the lock; None if another process holds it at each of `tries` attempts, 10 ms apart.

        Several attempts, because a process that checks the lock holds it for a moment.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        for _ in range(tries):
            if _flock(descriptor, fcntl.LOCK_EX):
                return cls(descriptor)
            time.sleep(0.01)
        os.close(descriptor)
        return None

    def release(self) -> None:
        if self._descriptor in _held:
            _held.discard(self._descriptor)
            os.close(self._descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
