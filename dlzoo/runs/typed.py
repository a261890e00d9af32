"""The settings to type for a run with a given config."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.registries import REGISTRIES
from dlzoo.runs.differences import flatten, format_value


def settings_to_type(config: Mapping[str, Any]) -> list[str] | None:
    """Return the settings that compose to a config, quoted for a shell, without its name and folder.

    Settings that have their defaults are left out. None if no settings compose to the config: it has objects of a
    Python program, or entries that are not installed.
    """
    wanted, words = flatten(config), dict[str, str]()
    # A choice comes before what depends on it: data, then model, then the others.
    order = sorted(wanted, key=lambda key: (key not in ("data", "model"), key not in REGISTRIES, "." in key))
    for _ in wanted:
        try:
            found = flatten(compose([f"{key}={value}" for key, value in words.items()], in_sweep=True))
        except UserError:
            return None
        key = next((key for key in order if found.get(key) != wanted[key]), None)
        if key is None:
            return [f"{key}={shlex.quote(value)}" for key, value in words.items()]
        if key in words:
            return None
        words[key] = format_value(wanted[key])
    return None
