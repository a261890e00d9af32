"""Read and replace files, with one-line errors for what the system refuses."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dlzoo.core.errors import UserError

#: Errors of the system that are about a path or its disk, not about this program.
_OF_A_PATH = {
    *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENXIO, errno.EINVAL),
}
#: Errors of the system that may be gone a moment later.
_TRANSIENT = {
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR),
    *(errno.ESTALE, errno.ETIMEDOUT),
}
#: Seconds after which a new file is locked, or was given up.
_NEW = 60
#: Characters of a path in a message.
_LONGEST = 160
_NO_FILES = {
    stat.S_IFIFO: "it is a named pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


def regular(path: str | Path) -> Path:
    """Return a path after checking that it is not a pipe, a socket or a device: opening one may wait for ever.

    Raises:
        OSError: if it is one, or there is no such file.
    """
    if reason := _NO_FILES.get(stat.S_IFMT(os.stat(path).st_mode)):
        raise OSError(errno.EINVAL, reason, str(path))
    return Path(path)


def reason(error: OSError) -> str:
    """Return why the system refused: "permission denied"."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def refusal(error: OSError, path: str | Path = "") -> str:
    """Return a line that says which path the system refused, `path` if the error names none, and why."""
    named = shorten(path if error.filename is None else os.fsdecode(error.filename))
    return f"{named}: {reason(error)}" if named else reason(error)


def shorten(path: str | Path) -> str:
    """Return a path for a message, shortened in the middle if it is very long."""
    text = str(path)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"


def is_transient(error: BaseException | None) -> bool:
    """Return whether an error of the system may be gone a moment later, so that it says nothing of a file."""
    return isinstance(error, OSError) and error.errno in _TRANSIENT


def unreadable(path: str | Path, error: OSError) -> UserError:
    """Return the error for a file that the system does not let be read."""
    return UserError(f"{shorten(path)}: cannot be read ({reason(error)})")


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def read_text(path: str | Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: if it cannot be read, or is not UTF-8; with the line.
    """
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: not UTF-8 text (line {line}); save the file in that encoding") from error


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a temporary file, sync and rename: readers see the old or the new file, never a part. Text is UTF-8.

    Content may come in parts, which are written one after the other.
    """
    with writing(path) as file:
        for part in [content] if isinstance(content, (str, bytes)) else content:
            file.write(part.encode() if isinstance(part, str) else part)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file beside `path` to write to; afterwards it is synced and renamed, or removed after an error.

    It is locked meanwhile, so that `remove_abandoned` knows the files of processes that were killed.
    """
    with replacing(path) as aside, aside.open("xb") as file:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file
        file.flush()
        os.fsync(file.fileno())


def check_folder() -> None:
    """Check that the current folder exists.

    Raises:
        UserError: if it was removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the folder that you are in does not exist any more") from None


def remove_abandoned(folder: Path) -> None:
    """Remove what `writing` left in a folder where processes were killed; files that are being written stay."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError), path.open("rb") as file:  # removed, or still written to
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = os.fstat(file.fileno())
            if state.st_size or time.time() - state.st_mtime > _NEW:  # an empty new file may not be locked yet
                path.unlink()


@contextmanager
def one_line_refusals() -> Iterator[None]:
    """Turn what the system refused within the context, such as a name that is too long, into a line with the path.

    Raises:
        UserError: if a path was refused; missing files are left to who opens them.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or error.errno not in _OF_A_PATH:
            raise
        raise UserError(refusal(error)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file beside `path`, to be written; afterwards it is renamed, or removed after an error.

    It is not made by `tempfile`, whose files are private whatever the user's umask says.
    """
    aside = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
