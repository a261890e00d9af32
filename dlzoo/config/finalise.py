"""Check a composed config key by key, and resolve its defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dlzoo.config import suggest
from dlzoo.config.defaults import (
    DEFAULTS_FROM,
    SECTIONS,
    Config,
    default_entry,
    default_settings,
    is_option,
    names_of,
    settings_for,
    unknown_name,
)
from dlzoo.config.hooks import NAMES as HOOKS
from dlzoo.config.hooks import SECTION as HOOK
from dlzoo.config.hooks import check_hooks
from dlzoo.config.settings import RunSettings
from dlzoo.config.sources import Sources
from dlzoo.config.yaml_file import read_yaml
from dlzoo.core import index, own_parts
from dlzoo.core.errors import UserError
from dlzoo.core.nearest import suggest_key
from dlzoo.core.schema import check, settings_of

#: Of settings that a program made.
NOT_TYPED = Sources()


def _depth(section: str) -> int:
    return 1 + max(map(_depth, DEFAULTS_FROM[section])) if section in DEFAULTS_FROM else 0


#: The sections that defaults depend on come first: data, then model, then its parts.
_ORDER = sorted(SECTIONS, key=_depth)


def finalise(raw: Mapping[str, Any], sources: Sources = NOT_TYPED) -> Config:
    """Return `raw` with every key checked, values converted to their exact types, and each `default` resolved.

    Args:
        sources: where the settings come from, for error messages and for settings that take text.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    run_settings = settings_of(RunSettings)
    for key in raw:
        if key == own_parts.KEY:
            raise UserError(f"{sources.prefix(key)}parts names code, which only a command may: type parts=./mine.py")
        if key not in run_settings and key not in (*SECTIONS, HOOK):
            leaf, value = _leaf(key, raw[key])
            raise UserError(f"{sources.prefix(leaf)}unknown key {leaf!r}; {_hint(leaf, value, sources)}")
    final: Config = {key: _check_value(key, schema, raw, sources) for key, schema in run_settings.items()}
    for section in _ORDER:
        settings = raw.get(section)
        if not isinstance(settings, Mapping):
            where = sources.prefix(section)
            raise UserError(f"{where}{section} must be a section with its settings, not {settings!r}")
        if section == "trainer":
            final[section] = check_section(section, "trainer", settings, sources)
        else:
            final[section] = _entry(section, dict(settings), final, sources)
    return final | check_hooks(final[HOOKS], raw.get(HOOK), sources, _check_value)


def _leaf(key: str, value: Any) -> tuple[str, Any]:
    """Return the first setting in a section that may be nested: ("a.b.c", 1) for {"b": {"c": 1}}."""
    while isinstance(value, Mapping) and value:
        name, value = next(iter(value.items()))
        key = f"{key}.{name}"
    return key, value


def _entry(choice: str, settings: Config, final: Config, sources: Sources) -> Config:
    """Return the section of a choice, with `default` replaced by the entry that it resolves to."""
    name = settings.pop("name", None)
    if not is_option(choice, name):
        raise UserError(f"{sources.prefix(choice)}{unknown_name(choice, name)}")
    if choice in DEFAULTS_FROM:
        origin = DEFAULTS_FROM[choice][0]
        known = default_entry(choice, {each: final[each]["name"] for each in DEFAULTS_FROM[choice]})
        if known is None and name != "default":
            raise UserError(
                f"{sources.prefix(choice)}{origin}={final[origin]['name']} does not support {choice}={name};"
                f" leave {choice} out, or choose another {origin}{_supporting(choice, origin, final)}"
            )
        if known is None or (known == "default" and name == "default"):
            return {"name": "default"} | check_section(
                choice, f"{origin}={final[origin]['name']}", settings, sources, {}
            )
        if name == "default":
            # A registration names an entry, or an entry with changed settings.
            registered = known if isinstance(known, Mapping) else {"name": known}
            name = registered["name"]
            own_settings = {key: value for key, value in registered.items() if key != "name"}
            settings = default_settings(choice, name) | own_settings | settings
    return {"name": name} | check_section(choice, f"{choice}={name}", settings, sources, settings_for(choice, name))


def _supporting(choice: str, origin: str, chosen: Config) -> str:
    """Return ", such as model=yolov3" for an entry of `origin` that supports a choice, with other data if it must.

    Models for the task of the chosen one come first.
    """
    names = [name for name in index.available(origin) if getattr(index.marks(origin, name), choice, None) is not None]
    if origin != "model":
        return f", such as {origin}={names[0]}" if names else ""
    data, tasks = chosen["data"]["name"], index.marks("model", chosen["model"]["name"]).tasks
    for each in (data, *(other for other in index.available("data") if _is_generated(other))):
        fitting = [name for name in names if _fits(name, each)]
        fitting = [name for name in fitting if set(index.marks("model", name).tasks) & set(tasks)] or fitting
        if fitting:
            default = index.marks("data", each).model
            found = default if default in fitting else fitting[0]
            return ", such as " + (f"model={found}" if each == data else f"data={each} model={found}")
    return ""


def _fits(model: str, data: str) -> bool:
    """Return whether a model is for a task of the data, and for tables if the data is one."""
    marks, known = index.marks("model", model), index.marks("data", data)
    return index.choose_task(data, known.tasks[0], marks.tasks) in marks.tasks and (marks.tables or not known.table)


def _is_generated(data: str) -> bool:
    """Return whether a data set needs no files."""
    return not {"root", "path"} & index.settings("data", data).keys()


def check_section(
    section: str,
    owner: str,
    settings: Mapping[str, Any],
    sources: Sources = NOT_TYPED,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Return the settings of a section, checked that each is present and of the right type.

    Args:
        section: the word before the dot.
        owner: the entry that has these settings, for error messages.
        sources: where the settings come from.
        known: key -> schema; by default those of the section.

    Raises:
        UserError: for the first key that is unknown, missing or of the wrong type.
    """
    known = settings_for(section) if known is None else known
    for key in settings:
        if key not in known:
            full, value = f"{section}.{key}", settings[key]
            of_run = section in SECTIONS  # not of an executor
            hint = _hint(full, value, sources, known) if of_run else suggest_key(section, key, value, known)
            raise UserError(f"{sources.prefix(full)}unknown key {full!r}: {owner} has no such setting; {hint}")
    return {key: _check_value(f"{section}.{key}", schema, settings, sources) for key, schema in known.items()}


def _hint(key: str, value: Any, sources: Sources, known: Collection[str] = ()) -> str:
    """Return a hint for an unknown key of a config, whose section has the settings `known`."""
    typed = sources.lines.get(key)
    return suggest.for_key(key, str(value) if typed is None else typed.partition("=")[2], sources.lines, known)


def _check_value(key: str, schema: Mapping[str, Any], settings: Mapping[str, Any], sources: Sources) -> Any:
    name = key.rpartition(".")[2]
    if name not in settings:
        raise UserError(f"{sources.prefix(key)}{key} is missing")
    try:
        value = check(schema, settings[name])
    except ValueError as error:
        try:
            value = check(schema, sources.text(key))  # name=2024
        except (KeyError, ValueError):
            hint = "" if key in sources.lines else _in_quotes(schema, settings[name])
            hint += suggest.for_value(key, schema, settings[name])
            hint += _hint_of_list(key, settings[name]) if _is_word_of_list(schema, settings[name]) else ""
            raise UserError(f"{sources.prefix(key)}{key} {error}{hint}") from None
    return list(value) if isinstance(value, tuple) else value


def _is_word_of_list(schema: Mapping[str, Any], value: Any) -> bool:
    """Return whether a value is a single word where a list is needed: hooks=csv."""
    return schema.get("type") == "array" and isinstance(value, str) and not {*value} & {*"[]"}


def _hint_of_list(key: str, word: str) -> str:
    """Return a hint for a single word where a list is needed: the list, or for an unknown hook the nearest one."""
    if key == HOOKS and word not in names_of(HOOK):
        return f"; {unknown_name(HOOK, word)}"
    return f"; type '{key}=[{word}]'"


def _in_quotes(schema: Mapping[str, Any], value: Any) -> str:
    """Return a hint for a setting that takes text, of which a file holds a number, true or false without quotes."""
    if not isinstance(value, (bool, int, float)):
        return ""
    try:
        return f'; write it in quotes: "{check(schema, str(value))}"'
    except ValueError:
        return ""


def read(path: Path) -> Config:
    """Return the finalised config in a file, checked again because a person may have edited it.

    Raises:
        UserError: if the file does not exist, or is not valid YAML or not a config.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: not a config")
    raw.setdefault(HOOKS, settings_of(RunSettings)[HOOKS]["default"])  # of a run from before there were hooks
    return finalise(raw, Sources(where=f"{path}: "))
