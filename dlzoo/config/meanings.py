"""The settings that an unknown key may mean, as templates: "norm=gn norm.num_groups={}", with {} for the value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlzoo.config.defaults import SECTIONS, choices, settings_for
from dlzoo.config.other_keys import KEYS, key_meant
from dlzoo.config.overrides import key_of
from dlzoo.config.settings import RunSettings
from dlzoo.core import index
from dlzoo.core.nearest import edit_distance, nearest, simplify
from dlzoo.core.registries import REGISTRIES
from dlzoo.core.schema import settings_of

#: The sections in which a setting without a section is looked for first.
_FIRST = ("trainer", "optimizer", "data", "model", "schedule", "loss", "augment", "norm", "drop")


def section_of(word: str) -> str:
    """Return the section that a word before a dot means: "optimizer" for "optim"; "" for none."""
    if word in SECTIONS or not word:
        return word
    if simplify(word) in ("train", "training", "fit"):
        return "trainer"
    meant = key_meant(word)
    near = nearest(word, SECTIONS)
    return meant if meant in SECTIONS else near[0] if len(near) == 1 else ""


def has_setting(section: str, name: str) -> bool:
    """Return whether an entry of a section has a setting."""
    if section in REGISTRIES:
        return any(name in each["settings"] for each in index.entries(section).values())
    return False


def templates(section: str, name: str) -> Iterator[str]:
    """Yield settings that a key may mean, with {} for its value; the likeliest first.

    The order: what the whole key means elsewhere, settings of this name in the section, what the name means elsewhere,
    settings of nearly this name in the section, settings of this name in any section, and of nearly this name in any.
    """
    here = _homes(section) if section else {}
    yield from _meant(f"{section}.{name}".lower())
    yield from here.get(name, ())
    yield from _meant(simplify(name))
    yield from _near(name, here if section else _top_level())
    everywhere = _homes("")
    yield from everywhere.get(name, ())
    whole = {key_of(meaning.split()[-1]): meaning for meanings in everywhere.values() for meaning in meanings}
    yield from _near(name, {**whole, **KEYS, **everywhere})


def _meant(word: str) -> list[str]:
    return [KEYS[word]] if word in KEYS else []


def _top_level() -> dict[str, list[str]]:
    """Return the keys without a section -> the settings to type for them."""
    return {key: [f"{key}={{}}"] for key in (*choices(), *settings_of(RunSettings))}


def _homes(section: str) -> dict[str, list[str]]:
    """Return setting -> the settings to type for it, of a section, or for "" of all and of the run."""
    homes = {} if section else _top_level()
    for each in [section] if section else [*_FIRST, *(other for other in SECTIONS if other not in _FIRST)]:
        for setting in settings_for(each):
            homes.setdefault(setting, []).append(f"{each}.{setting}={{}}")
        for entry in index.available(each) if each in REGISTRIES else ():
            for setting in index.entries(each)[entry]["settings"]:
                homes.setdefault(setting, []).append(f"{each}={entry} {each}.{setting}={{}}")
    return homes


def _near(name: str, known: Mapping[str, Any]) -> Iterator[str]:
    """Yield the templates of the nearest keys."""
    near = nearest(name, known)
    for word in sorted(near, key=lambda each: edit_distance(simplify(name), simplify(each))):
        yield from [known[word]] if isinstance(known[word], str) else known[word]
