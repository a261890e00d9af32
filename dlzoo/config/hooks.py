"""The hooks of a run: the list `hooks`, and the settings `hook.<name>.<setting>` of those that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlzoo.config.defaults import unknown_name
from dlzoo.config.sources import Sources
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.nearest import suggest_key

Config = dict[str, Any]
#: (key, schema, settings, sources) -> the checked value of a setting.
Check = Callable[[str, Mapping[str, Any], Mapping[str, Any], Sources], Any]

#: The key of the list, and of the section with the settings.
NAMES, SECTION = "hooks", "hook"


def check_hooks(names: Sequence[str], raw: Any, sources: Sources, check: Check) -> Config:
    """Return {"hook": {name: its settings}} of the chosen hooks that have settings; {} if none has.

    Args:
        names: the list `hooks`.
        raw: the settings that were set, by hook; None if none was.
        sources: where they come from.
        check: checks one setting.

    Raises:
        UserError: for a name that is unknown or listed twice; for a setting that is unknown, of the wrong type, or of a
            hook that is not chosen.
    """
    known = index.entries(SECTION)
    for place, name in enumerate(names):
        if name not in known:
            raise UserError(f"{sources.prefix(NAMES)}{unknown_name(SECTION, name)}")
        if name in names[:place]:
            raise UserError(f"{sources.prefix(NAMES)}{NAMES} lists {name} twice")
    raw = {} if raw is None else raw
    if not isinstance(raw, Mapping):
        typed = f"; did you mean {NAMES}=[{raw}]?" if raw in [*known] else ""
        raise UserError(f"{sources.prefix(SECTION)}{SECTION} is {raw!r}, but takes settings as in"
                        f" {SECTION}.csv.path=metrics.csv{typed}")  # fmt: skip
    for name in raw:
        _check_section(str(name), raw[name], names, sources)
    sections = {}
    for name in names:
        schemas = known[name]["settings"]
        settings = {key: schema["default"] for key, schema in schemas.items()} | dict(raw.get(name, {}))
        checked = {key: check(f"{SECTION}.{name}.{key}", schema, settings, sources) for key, schema in schemas.items()}
        if checked:
            sections[name] = checked
    return {SECTION: sections} if sections else {}


def _check_section(name: str, settings: Any, names: Sequence[str], sources: Sources) -> None:
    """Check the names of the settings of one hook.

    Raises:
        UserError: for an unknown one, or one of a hook that is not chosen.
    """
    known = index.entries(SECTION)
    key = f"{SECTION}.{name}"
    setting = f"{key}.{next(iter(settings))}" if isinstance(settings, Mapping) and settings else key
    if name not in known:
        raise UserError(f"{sources.prefix(setting)}unknown key {setting!r}: {_unknown_hook(name, settings, names)}")
    if name not in names:
        raise UserError(f"{sources.prefix(setting)}{setting} is set, but {NAMES}=[{','.join(names)}] does not choose"
                        f" {name}; set {NAMES}=[{','.join([*names, name])}]")  # fmt: skip
    schemas = known[name]["settings"]
    if not isinstance(settings, Mapping):
        example = f", such as {key}.{next(iter(schemas))}=..." if schemas else ""
        raise UserError(f"{sources.prefix(key)}{key} is {settings!r}, but must have settings{example}")
    for word in settings:
        if word not in schemas:
            raise UserError(f"{sources.prefix(f'{key}.{word}')}unknown key '{key}.{word}': the hook {name} has no such"
                            f" setting; {suggest_key(key, str(word), settings[word], schemas)}")  # fmt: skip


def _unknown_hook(name: str, value: Any, names: Sequence[str]) -> str:
    """Return a hint for a word after `hook.`, which may be a setting whose hook was left out."""
    known = index.entries(SECTION)
    having = [each for each in known if name in known[each]["settings"]]
    if having:
        chosen = "" if having[0] in names else f"{NAMES}=[{','.join([*names, having[0]])}] "
        return f"did you mean {chosen}{SECTION}.{having[0]}.{name}={value}?"
    return f"there is no hook {name!r}; {did_you_mean(name, known)}"
