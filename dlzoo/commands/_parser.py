"""Parse the words of a command with argparse; an error is one line that says what to type instead."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from dlzoo.config import suggest
from dlzoo.config.overrides import refuse_twice
from dlzoo.core.errors import UserError
from dlzoo.core.nearest import nearest

#: Columns of a help text.
_WIDTH = 100
#: A key before spaces and "=".
_NAME = re.compile(r"[A-Za-z_][\w.]*")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError. Options may stand anywhere among the other words.

    Attributes:
        takes_settings: whether the words that are not options are settings (key=value).
        compares: whether these may be arms, which set a key once each; otherwise no key is set twice.
        own_words: keys of the command that are not settings of a run: "steps" of the learning-rate test.
        undashed: options that may be written without dashes, too: "baseline", for baseline=norm=bn.
        details: returns what `--help` prints at the end. It is called for `--help` only, and so may be slow.
    """

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(prog=prog, description=description, formatter_class=_Formatter, allow_abbrev=False)
        self.color = False  # Python 3.14: a usage line is part of our errors
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)
        self.takes_settings = self.compares = False
        self.undashed: Collection[str] = ()
        self.own_words: Collection[str] = ()
        self.details: Callable[[], str] | None = None

    def add_settings(self, about: str, *, compares: bool = False) -> None:
        """Add the argument `settings`: a list of key=value words, of which some may be arms if it `compares`."""
        self.takes_settings, self.compares = True, compares
        self.add_argument("settings", nargs="*", default=[], metavar="key=value", help=about)

    def add_config_dir(self) -> None:
        """Add the option --config-dir, a folder that is searched like conf/ (dlzoo/config/defaults.py)."""
        about = "a folder of your own with experiment/, trainer/ or executor/, which is searched like conf/"
        self.add_argument("--config-dir", metavar="DIR", help=about)

    def add_trust(self) -> None:
        """Add the option --trust."""
        self.add_argument("--trust", action="store_true", help="import the parts files in the run directory, although"
                          " you have not used them before")  # fmt: skip

    def add_json(self) -> None:
        """Add the option --json."""
        self.add_argument("--json", action="store_true", help="print JSON")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse `words` into the arguments of the command.

        Raises:
            UserError: for an unknown option, with the closest one; for words that are missing or too many, or no text;
                for a key that is set twice.
        """
        for word in words:
            is_setting = "=" in word and not word.startswith("run=")
            if "\0" in word or (is_setting and not _is_utf8(word)):
                raise UserError(f"{word!r} is not UTF-8, or contains NUL; rename the file, or type another word")
        if self.takes_settings:
            _refuse_spaces(words)
        spelled = [f"--{word}" if "=" in word and word.partition("=")[0] in self.undashed else word for word in words]
        spelled = [f"./{word}" if self._is_dashed_file(word) else word for word in spelled]
        self.refuse_unknown(spelled)
        arguments = self.parse_intermixed_args(spelled)
        suggest.keep_typed(arguments.settings if self.takes_settings else ())
        if self.takes_settings and not self.compares:
            refuse_twice(arguments.settings)
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raise a UserError with the message and the usage."""
        raise UserError(f"{message}; {self.format_usage()}")

    def format_help(self) -> str:
        """Return the help text, `details` included."""
        return super().format_help() + (f"\n{self.details()}\n" if self.details else "")

    def _is_dashed_file(self, word: str) -> bool:
        """Return whether a word is no option, but a file whose name begins with a dash, as of `predict *.jpg`."""
        return word.startswith("-") and word not in self._option_string_actions and os.path.isfile(word)

    def refuse_unknown(self, words: Sequence[str]) -> None:
        """Check that every word with a dash is an option; nothing is read for it.

        Raises:
            UserError: for the first that is none, with what to type instead.
        """
        # Not left to argparse: it would first say which other words are missing, and then suggest nothing.
        for place, word in enumerate(words):
            option = word.partition("=")[0]
            if self._is_dashed_file(word) or not option.startswith("-") or _is_number(word):
                continue
            if option not in (*self._option_string_actions, "-"):
                raise UserError(f"unknown option {option!r}; {self._instead(word, words[place + 1 :])}")

    def _instead(self, word: str, rest: Sequence[str]) -> str:
        """Suggest what to type instead of an unknown option; its value may be the first of the `rest`."""
        known = {option.lstrip("-"): option for option in self._option_string_actions}
        name, equals, value = word.lstrip("-").partition("=")
        if close := nearest(name, [each for each in known if len(each) > 1]):
            return f"did you mean {known[close[0]]!r}?"
        if self.takes_settings:
            typed = value if equals else next((each for each in rest[:1] if each[0] != "-" and "=" not in each), None)
            if name not in self.own_words and (hint := suggest.for_option(name, typed)):
                return f"settings have no dashes: {hint}"
            setting = f"{name}={'...' if typed is None else typed}"
            return f"settings have no dashes ({setting}), and `{self.prog} --help` lists the options"
        return f"available: {', '.join(option for option in known.values() if option.startswith('--'))}"


def _refuse_spaces(words: Sequence[str]) -> None:
    """Refuse spaces around the "=" of a setting.

    Raises:
        UserError: for the first such setting, with the word to type instead.
    """
    for place, word in enumerate(words):
        before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
        if word == "=":
            parts = [before, after]
        elif word.startswith("=") and place and "=" not in before:
            parts = [before, word[1:]]
        elif word.endswith("=") and after and "=" not in after and not after.startswith("-"):
            parts = [word[:-1], after]
        else:
            continue
        if all(map(_NAME.fullmatch, parts[:1])) and parts[1]:
            raise UserError(f"{parts[0]!r} and its value are separated by spaces; type {parts[0]}={parts[1]}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=_WIDTH)


class _StoreOnce(argparse.Action):
    """Store a value. An option that is given twice is an error: argparse would drop the first value."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Set the attribute of the namespace."""
        if option is not None and getattr(namespace, self.dest, self.default) is not self.default:
            parser.error(f"{option} is given twice")
        setattr(namespace, self.dest, values)


def _is_utf8(word: str) -> bool:
    """Return whether a word can be written to a file; Python reads other bytes of a command line as surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(word: str) -> bool:
    """Return whether a word that begins with a dash is the value of an option, as in `--margin -1`."""
    try:
        float(word)
    except ValueError:
        return False
    return True
