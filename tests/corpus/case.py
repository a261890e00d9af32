"""A bad input, and what the command line has to answer."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command line that is refused: one line, exit code 2, and every file as it was.

    Attributes:
        line: the words behind `dlzoo`, as typed in a shell; or a tuple of words that no shell can spell.
        says: text that the line contains.
        make: writes files into the folder, which is empty, in which the command runs. Its second argument is the
            folder that `base.furnish` made, to be copied from.
        leaves: glob patterns of files and folders that the command may add or change.
    """

    line: str | tuple[str, ...]
    says: str
    make: Callable[[Path, Path], None] | None = None
    leaves: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.line)) if isinstance(self.line, str) else self.line


def lines(says: str, *typed: str | tuple[str, ...], make: Callable[[Path, Path], None] | None = None) -> list[Case]:
    """Cases of several command lines with the same answer."""
    return [Case(line, says, make) for line in typed]
