"""Where settings come from: words that were typed, or files. Messages name the file of what was not typed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlzoo.config.overrides import value_as_typed
from dlzoo.config.yaml_file import read_yaml


@dataclass(frozen=True)
class Sources:
    """The sources of a config's settings.

    Args:
        lines: key -> the setting (key=value) that set it.
        written: keys of `lines` that were not typed: the first of `files` lists them as words.
        files: returns the files that may set the other keys, in order of precedence.
        where: prefix of each message about a key of no other source.
    """

    lines: Mapping[str, str] = field(default_factory=dict)
    written: Collection[str] = ()
    files: Callable[[], Sequence[Path]] = tuple
    where: str = ""

    def prefix(self, key: str) -> str:
        """Return what a message about a key begins with: the file that sets it, or nothing if it was typed."""
        if key in self.lines:
            return f"{self.files()[0]}: " if key in self.written else ""
        file = next((path for path in self.files() if _sets(read_yaml(path), key)), None)
        return self.where if file is None else f"{file}: "

    def text(self, key: str) -> Any:
        """Return the value of a key as it was typed, for a setting that takes text.

        Raises:
            KeyError: if it was not typed, or refers to another setting (${seed}).
        """
        line = self.lines[key]
        if "${" in line:
            raise KeyError(key)
        return value_as_typed(line)


def _sets(content: Any, key: str) -> bool:
    """Return whether the content of a file sets a key, or chooses the entry of a choice."""
    if not isinstance(content, Mapping):
        return False
    defaults = content.get("defaults")
    chosen = (
        [name for line in defaults if isinstance(line, Mapping) for name in line] if isinstance(defaults, list) else []
    )
    if any(str(name).removeprefix("override ").strip() == f"/{key}" for name in chosen):
        return True
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return "." in key or not isinstance(content, Mapping)
