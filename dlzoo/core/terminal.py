"""Print text safely: control characters in names are escaped."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: Control characters but tab and line break, marks of bidirectional text and line separators, halves of surrogate
#: pairs: what is in a file name that is not UTF-8.
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text with escapes, such as \x1b, for characters that a terminal would obey or could not show."""
    return _HIDDEN.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def in_one_line(text: str) -> str:
    r"""Return `printable` text in which line breaks and tabs are escaped too: a name in a table."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


class Output:
    """A text stream whose text is `printable`, and whose errors name it.

    Args:
        stream: where the text is written; characters that its encoding lacks are escaped.
        name: what errors call it.
        escaped: whether text is made printable. That of rich is not: it has the terminal's own control sequences.
    """

    def __init__(self, stream: Any, name: str, *, escaped: bool = True) -> None:
        self._stream, self._name, self._escaped = stream, name, escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    @property
    def rich_proxied_file(self) -> Output:
        """The stream that rich writes to instead of this one."""
        return Output(self._stream, self._name, escaped=False)

    def write(self, text: str) -> int:
        """Write text and return its length."""
        with self._named_errors():
            self._stream.write(printable(text) if self._escaped else text)
        return len(text)

    def flush(self) -> None:
        with self._named_errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._name) from error


@contextmanager
def printable_streams() -> Iterator[None]:
    """Make what is printed within the context printable."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Output(sys.stdout, "standard output"), Output(sys.stderr, "standard error")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def discard_output() -> None:
    """Send what is still to be printed nowhere: a pipe was closed, or a disk is full."""
    with suppress(OSError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def drop_unwritten() -> None:
    """Drop what the output did not take: Python would try again when it ends, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
