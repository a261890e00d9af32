"""Suggestions for unknown keys and wrong values: settings that can be typed as they are printed.

Each is composed before it is printed, together with the choices that the user typed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from dlzoo.config.defaults import (
    FILE_CHOICES,
    choices,
    default_choices,
    names_of,
    settings_for,
    unknown_name,
)
from dlzoo.config.meanings import has_setting, section_of, templates
from dlzoo.config.other_keys import NO_KEYS, VALUES
from dlzoo.config.overrides import key_of
from dlzoo.config.settings import RunSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.core.nearest import nearest, simplify
from dlzoo.core.other_words import NAMES, NUMBERS
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import check, describe, settings_of

#: Values that switch something off.
_OFF = ("false", "no", "off", "none", "null", "0")

#: Characters that a shell changes.
_SPECIAL = re.compile(r"[\s'\"$`&;|<>()*?#~!\\]")

#: Values that are not meant as a name: numbers, true and false, settings of a section.
_NO_NAME = re.compile(r"(?i)[-+.\d]|true$|false$|\{")

#: Whether suggestions are being tried: an error of a trial needs none.
_trying: ContextVar[bool] = ContextVar("trying", default=False)
#: Key -> value of the words that were typed.
_typed: ContextVar[Mapping[str, str]] = ContextVar("typed", default=MappingProxyType({}))


def for_key(key: str, value: str | None, lines: Mapping[str, str], known: Collection[str] = ()) -> str:
    """Return a hint for an unknown key, such as "did you mean trainer.max_epochs=10?".

    Args:
        key: the key that was typed, with its section.
        value: its value as it was typed; None if there was none.
        lines: key -> setting that was typed; its choices are the context of a suggestion.
        known: the settings of the section, to be listed if none is near.
    """
    if _trying.get():
        return ""
    before, _, name = key.rpartition(".")
    section = section_of(before.partition(".")[0])
    if hint := NO_KEYS.get(simplify(name)) if not has_setting(section, name) else None:
        return hint
    context = [line for each, line in lines.items() if each in choices() and each != "experiment"]
    if hint := _first(templates(section, name), value, context):
        return _with_all_values(hint, key, value)
    if section:
        listed = ", ".join(known or _schemas(section, _chosen(section, lines.values()))) or "none"
        return f"its settings: {listed}; `dlzoo find {name}` searches those of others"
    return f"`dlzoo find {name}` searches the settings, and `dlzoo train --help` lists them"


def keep_typed(words: Iterable[str]) -> None:
    """Note the words of a command, whose settings may have several values: suggestions have all of them."""
    _typed.set({key_of(word): word.partition("=")[2] for word in words if "=" in word})


def _with_all_values(hint: str, key: str, value: str | None) -> str:
    """Return a hint with all values that were typed, epochs=5,10, for one of them."""
    found = re.search(rf"(\S+=){re.escape(value or '')}\?$", hint)
    typed = _typed.get().get(key, value)
    if not found or not typed or typed == value:
        return hint
    return f"{hint[: found.start()]}{_quoted(found[1] + typed)}?"


def for_word(word: str) -> str:
    """Return a hint for a word that is no setting, since it has no value: a key, or the name of an entry."""
    if _trying.get():
        return ""
    if word in choices():
        return f"type key=value, such as {word}={names_of(word)[0]}; `dlzoo list {word}` lists the names"
    homes = [choice for choice in (*REGISTRIES, *FILE_CHOICES) if word in names_of(choice) and choice != "executor"]
    if homes:
        return f"did you mean {homes[0]}={word}?"
    exact = [word] if "." in word or word in settings_of(RunSettings) else []
    section, _, name = word.rpartition(".")
    found = templates(section_of(section.partition(".")[0]), name)
    if hint := _first([*(f"{each}={{}}" for each in exact), *found], None, []):
        return f"type key=value: {hint}"
    return f"type key=value, such as model=resnet20; {for_key(word, None, {})}"


def for_option(name: str, value: str | None) -> str:
    """Return a hint for a setting that was typed as an option, without its dashes; "" if there is no such setting."""
    word = name.replace("-", "_")
    if word in choices() and value is not None and value in names_of(word):
        return f"did you mean {word}={value}?"
    section, _, setting = word.rpartition(".")
    if hint := NO_KEYS.get(simplify(setting)):
        return hint
    exact = [f"{word}={{}}"] if section or word in settings_of(RunSettings) else []
    return _first([*exact, *templates(section_of(section.partition(".")[0]), setting)], value, [])


def for_value(key: str, schema: Mapping[str, Any], value: Any) -> str:
    """Return a hint for a wrong value of a setting, "; did you mean trainer.precision=fp32?"; "" if none is near."""
    if _trying.get():
        return ""
    for text in _values(key, str(value), schema):
        if text != str(value) and _fits(schema, text):
            return f"; did you mean {key}={text}?"
    return ""


def _chosen(section: str, words: Iterable[str]) -> str:
    """Return the entry of a section that words choose, or else config.yaml."""
    typed = [word.partition("=")[2] for word in words if key_of(word) == section]
    name = typed[-1] if typed else default_choices().get(section, "default")
    return name if section in REGISTRIES and name in index.available(section) else "default"


def _first(meanings: Iterable[str], value: str | None, context: Sequence[str]) -> str:
    """Return a hint of the first template that composes with the value, else of the first with another value."""
    split = [meaning.split() for meaning in meanings]
    for words in split:
        if hint := _try(words, value, context):
            return hint
    for words in split:
        key = _key(words)
        if key in choices() and not (value and key not in NUMBERS and _NO_NAME.match(value)):
            return f"the choice is {key}: " + (f"{unknown_name(key, value)}" if value else f"`dlzoo list {key}`")
        if key and (hint := _with_default(words, key, context)):
            return hint
    return ""


def _key(words: Sequence[str]) -> str:
    """Return the key of a template that takes the value; "" for none."""
    return next((key_of(word) for word in words if word.endswith("={}")), "")


def _try(words: Sequence[str], value: str | None, context: Sequence[str]) -> str:
    """Return a hint of the settings of a template with a value, if they compose; else ""."""
    key = _key(words)
    if not key and value is not None and simplify(value) in _OFF:
        return "leave it out"
    # Without the entry that has the setting first: the one that was chosen may have it.
    shorter = [word for word in words if key_of(word) not in REGISTRIES or word.endswith("={}")]
    for chosen in (shorter, words) if 0 < len(shorter) < len(words) else (words,):
        filled = _fill(chosen, key, value, context)
        if filled and _composes([*context, *filled]):
            return f"did you mean {' '.join(map(_quoted, filled))}?"
    return ""


def _fill(words: Sequence[str], key: str, value: str | None, context: Sequence[str]) -> list[str]:
    """Return the words with the first reading of the value that composes; [] if none does, or there is no value."""
    if not key or key not in map(key_of, words):
        return list(words)
    for text in _values(key, value) if value is not None else ():
        filled = [word.replace("{}", text) for word in words]
        if _composes([*context, *filled]):
            return filled
    return []


def _with_default(words: Sequence[str], key: str, context: Sequence[str]) -> str:
    """Return a hint with the default of a setting for its value."""
    section, _, name = key.rpartition(".")
    entry = _chosen(section, (*context, *words))
    known = settings_of(RunSettings) if not section else _schemas(section, entry)
    if name not in known:
        return ""
    text = _as_typed(known[name]["default"])
    for chosen in ([word for word in words if key_of(word) not in REGISTRIES], list(words)):
        filled = [word.replace("{}", text) for word in chosen]
        if _composes([*context, *filled]):
            return f"the setting is {key}, {describe(known[name])}, as in {' '.join(filled)}"
    return ""


def _quoted(word: str) -> str:
    """Return a setting in quotes, if a shell would not take it as it is."""
    return shlex.quote(word) if _SPECIAL.search(word) else word


def _as_typed(value: Any) -> str:
    """Return a default as it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(_as_typed, value))}]" if isinstance(value, list) else str(value)


def _schemas(section: str, entry: str) -> Mapping[str, Mapping[str, Any]]:
    names = index.available(section) if section in REGISTRIES else []
    if entry in names:
        return settings_for(section, entry)
    others = {
        key: schema for name in reversed(names) for key, schema in index.entries(section)[name]["settings"].items()
    }
    return {**others, **settings_for(section)}


def _values(key: str, text: str, schema: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield what a value may mean: itself, our word for it, and the nearest words."""
    yield text
    others = {**VALUES.get(key, {}), **NAMES.get(key, {})}
    if simplify(text) in others:
        yield others[simplify(text)]
    yield text.lower()
    if key in choices():
        yield from nearest(text, names_of(key))
    words = [str(word) for part in (schema or {}).get("anyOf", [schema or {}]) for word in part.get("enum", ())]
    yield from nearest(text, words)
    if (schema or {}).get("type") == "boolean":
        truth = {"yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"}
        yield from [truth[text.lower()]] if text.lower() in truth else ()


def _fits(schema: Mapping[str, Any], text: str) -> bool:
    try:
        check(schema, {"true": True, "false": False}.get(text, text))
    except ValueError:
        return False
    return True


def _composes(words: Sequence[str]) -> bool:
    """Return whether a command would take these settings; the last of a key holds."""
    from dlzoo.config.compose import compose  # compose asks here for suggestions

    token = _trying.set(True)
    try:
        compose(words, in_sweep=True)
    except UserError:
        return False
    finally:
        _trying.reset(token)
    return True
