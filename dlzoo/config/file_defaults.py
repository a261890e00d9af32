"""Defaults of another task than the first of a data set: the one that was chosen, or that its files show."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from dlzoo.config.defaults import DEFAULTS_FROM, Config, default_settings, is_option, resolved_name, settings_for
from dlzoo.config.sources import Sources
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.schema import check


def with_defaults_of_files(raw: Config, sources: Sources) -> Config:
    """Return `raw` with each `default` that depends on the task as it is for data.task or the files' task.

    It is called when a config is composed, and not when that of an existing run is read.

    Args:
        raw: the settings, not checked yet.
        sources: where they come from.
    """
    data = raw.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(name, str) or not is_option("data", name):
        return raw
    marks = index.marks("data", name)
    task = data.get("task")
    if marks.finds_task:
        module, _, function = marks.finds_task.partition(":")
        schemas = settings_for("data", name)
        typed = {key: _as_typed(f"data.{key}", value, schemas.get(key), sources) for key, value in data.items()}
        task = getattr(import_module(module), function)(default_settings("data", name) | typed)
    if not isinstance(task, str) or task not in marks.tasks or task == marks.tasks[0]:
        return raw
    for choice, entry in index.marks("task", task).defaults.items():
        section = raw.get(choice)
        if isinstance(section, dict) and section.get("name") == "default" and not _is_registered(choice, raw):
            chosen = {key: value for key, value in section.items() if key != "name"}
            raw = raw | {choice: {"name": entry} | default_settings(choice, entry) | chosen}
    return raw


def _is_registered(choice: str, raw: Config) -> bool:
    """Return whether the registration of the model names the default of a choice, or that of a data set of one task.

    Defaults of a data set of several tasks are for its first one.
    """
    try:
        names = {origin: resolved_name(origin, raw) for origin in DEFAULTS_FROM[choice]}
        marks = [(origin, index.marks(origin, name)) for origin, name in names.items()]
        known = [each for origin, each in marks if origin != "data" or len(each.tasks) == 1 or each.finds_task]
        return any(getattr(each, choice, None) is not None for each in known)
    except (UserError, KeyError):  # an unknown model, which is an error later
        return True


def _as_typed(key: str, value: Any, schema: Mapping[str, Any] | None, sources: Sources) -> Any:
    """Return the value of a setting; of one that takes text, such as data.target=2020, the words that were typed."""
    if schema is None:
        return value
    try:
        return check(schema, value)
    except ValueError:
        try:
            return check(schema, sources.text(key))
        except (KeyError, ValueError):
            return value  # an error later
