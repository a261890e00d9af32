"""The one exception that a user may see, and the words that help with a typo."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

#: The environment variable with which a process that started another asks for its error in a file instead of in print.
ERROR_FILE = "DLZOO_ERROR_FILE"


class UserError(Exception):
    """Something that the user can mend: one line that says what is wrong, where, and what would be right.

    The command line prints it without a traceback and exits with 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Remark(UserWarning):
    """Something that the user should know; the command line prints it as one line."""


class Interrupted(BaseException):
    """Somebody asked us to stop (Ctrl-C, SIGTERM, SIGUSR1). Exit code 130."""


def first_line(error: BaseException) -> str:
    """What an exception of another library says, cut to its first line that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of an error about an unknown `word`: the closest of `words`, or all of them when they are few."""
    known = sorted(words)
    by_case = {name.lower(): name for name in known}
    close = [by_case[name] for name in get_close_matches(word.lower(), by_case, n=3, cutoff=0.6)]
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    if len(known) > 12:
        return f"there are {len(known)}, such as {', '.join(known[:6])}"
    return f"there is {', '.join(known)}" if known else "there is none"
