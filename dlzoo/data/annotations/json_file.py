"""Reader of JSON files of lists of objects, whose errors name the line."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from reprlib import repr
from typing import Any

from dlzoo.core.errors import UserError
from dlzoo.core.files import read_text

_WORDS = {int: "an integer", str: "a string", list: "a list", bool: "true or false"}
_SPACE = re.compile(r"[\s,:]*")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


class JsonFile:
    """Content of a JSON file: an object of lists of objects.

    Args:
        path: the file, which is read immediately.

    Raises:
        UserError: if it cannot be read, or is not well-formed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._content = json.loads(read_text(path))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {error.lineno}: not well-formed JSON ({error.msg})") from error
        except (RecursionError, ValueError) as error:  # too deep, or an integer of thousands of digits
            raise UserError(f"{path}: cannot be read as JSON ({error})") from error
        if not isinstance(self._content, dict):
            raise UserError(f"{path}: must be a JSON object of lists")

    def rows(self, section: str) -> list[dict[str, Any]]:
        """Return the objects of a list.

        Raises:
            UserError: if there is no such list.
        """
        rows = self._content.get(section)
        if not isinstance(rows, list):
            raise UserError(f"{self.path}: no list {section!r}")
        return rows

    def get(self, section: str, index: int, key: str, *types: type) -> Any:
        """Return the value of `key` of an object of a list; 7.0 and "7" are integers where one is asked for.

        Raises:
            UserError: if it is missing, or has none of the `types`.
        """
        thing = self.rows(section)[index]
        if not isinstance(thing, dict):
            raise UserError(f"{self.where(section, index)}: must be an object")
        if key not in thing:
            raise UserError(f"{self.where(section, index)}: {key} is missing")
        value = thing[key]
        if int in types and type(value) is not int:
            value = whole(value)
        if type(value) not in types:
            raise UserError(f"{self.where(section, index)}: {key} must be {_WORDS[types[0]]}, not {repr(value)}")
        return value

    def optional(self, section: str, index: int, key: str, *types: type) -> Any:
        """Return the value of `key` of an object of a list, as `get` does; None if it is missing or null."""
        return None if self.rows(section)[index].get(key) is None else self.get(section, index, key, *types)

    def where(self, section: str, index: int) -> str:
        """Return the place of an object of a list: file, line and id."""
        thing = self.rows(section)[index]
        called = f"id {repr(thing['id'])}" if isinstance(thing, dict) and "id" in thing else f"number {index + 1}"
        return f"{self.path}, line {self._lines[section][index]}, {section} {called}"

    @cached_property
    def _lines(self) -> dict[str, list[int]]:
        # Computed only to report an error, so that the text need not be kept.
        return _lines_of_lists(read_text(self.path))


def whole(value: Any) -> Any:
    """Return the integer that a float or a string stands for (7.0, "7"), otherwise the value as it is."""
    if type(value) is float and value.is_integer():
        return int(value)
    return int(value) if type(value) is str and _INTEGER.fullmatch(value) else value


def _lines_of_lists(text: str) -> dict[str, list[int]]:
    """Return the line in which each element of each list begins, by the list's name, for well-formed JSON."""
    decoder, lines = json.JSONDecoder(), {}
    place, counted, line = text.index("{") + 1, 0, 1
    while text[place := _next(text, place)] != "}":
        key, place = decoder.raw_decode(text, place)
        place = _next(text, place)
        if text[place] != "[":
            place = decoder.raw_decode(text, place)[1]
            continue
        lines[key], place = [], place + 1
        while text[place := _next(text, place)] != "]":
            line, counted = line + text.count("\n", counted, place), place
            lines[key].append(line)
            place = decoder.raw_decode(text, place)[1]
        place += 1
    return lines


def _next(text: str, place: int) -> int:
    """Return the first position from `place` on that is not a space, comma or colon."""
    match = _SPACE.match(text, place)
    return match.end() if match else place
