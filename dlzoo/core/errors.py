"""The exception for user errors, and suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

from dlzoo.core.nearest import HIDDEN, list_some, nearest

#: Environment variable: the file to which a child process writes its error, instead of printing it.
ERROR_FILE = "DLZOO_ERROR_FILE"


class UserError(Exception):
    """An error that the user can fix: one line that says what is wrong, where, and what to type instead.

    The command line prints it without a traceback and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(map(_abbreviate, message.split())))


class Note(UserWarning):
    """A warning for the user; the command line prints it as one line."""


class Interrupted(BaseException):
    """The process was asked to stop (Ctrl-C, SIGTERM, SIGUSR1). Exit code 130."""


def _abbreviate(word: str) -> str:
    """Return a word, shortened in the middle if it has more than 500 characters."""
    return word if len(word) <= 500 else f"{word[:200]}...{word[-50:]}"


def first_line(error: BaseException) -> str:
    """Return the first non-empty line of an exception's message, or the name of its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def did_you_mean(word: str, words: Iterable[str], all_of_them: str = "") -> str:
    """Return the end of an error about an unknown `word`: the nearest of `words`, or all of them if they are few.

    Args:
        all_of_them: the command that lists all words.
    """
    known = sorted({*words} - {HIDDEN})
    if near := nearest(word, known):
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    return list_some(word, known, all_of_them)
