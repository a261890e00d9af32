"""Where the files are that a config names: its settings that are paths, made absolute for run.json."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dlzoo.runs.differences import flatten

#: Settings that are paths, relative to the folder that a run was created from.
PATHS = ("data.root", "data.path", "data.test_path", "init_from")
#: Settings that may change after a run was created, because its data was moved.
MOVABLE = ("data.root", "data.path", "data.test_path", "data.cache")


def absolute_paths(config: Mapping[str, Any]) -> dict[str, str]:
    """Return setting -> absolute path, of the paths that a config names."""
    settings = flatten(config)
    return {key: os.path.abspath(os.path.expanduser(settings[key])) for key in PATHS if settings.get(key)}


def is_place(word: str) -> bool:
    """Return whether a word, such as data.root=moved, sets one of `MOVABLE`."""
    key, equals, _ = word.partition("=")
    return bool(equals) and key in MOVABLE
