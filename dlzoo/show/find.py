"""`dlzoo find`: search topics, entries, settings, experiments, commands and pages of docs for words, without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from inspect import getdoc
from pathlib import Path
from typing import Any

from dlzoo import config
from dlzoo.config.other_keys import KEYS
from dlzoo.config.settings import RunSettings, TrainerSettings
from dlzoo.core import index
from dlzoo.core.files import read_text
from dlzoo.core.nearest import simplify
from dlzoo.core.other_words import COMMANDS, NAMES
from dlzoo.core.registries import LISTED, REGISTRIES
from dlzoo.core.schema import describe, settings_of
from dlzoo.show.choices import SELECTIONS
from dlzoo.show.topics import ALSO, TOPICS

#: How much a word counts by where it is found: in the name, another name, the line about it, or the text.
_NAME, _ABOUT, _TEXT = 8, 3, 1
#: Endings that are cut off, so that "gradients" and "normalised" are found by "gradient" and "normalise".
_ENDINGS = ("isations", "izations", "isation", "ization", "ising", "izing", "ised", "ized", "ings", "ing", "ies", "es",
            "ed", "er", "e", "s")  # fmt: skip
#: Shortest stem, and length of a line about a thing.
_STEM, _LINE = 3, 100
#: Words that say nothing about what is looked for.
_IGNORED = frozenset(("a", "an", "and", "are", "be", "do", "for", "how", "in", "is", "my", "of", "on", "or", "the",
                      "to", "what", "why", "with"))  # fmt: skip

GROUPS = ("topics", "entries", "settings", "experiments", "commands", "pages")


@dataclass(frozen=True)
class Thing:
    """What a search finds.

    Args:
        group: one of `GROUPS`.
        name: what to type or open.
        about: a line about it.
        text: more text that is searched.
        other: other words for its name, simplified, with spaces between them.
    """

    group: str
    name: str
    about: str
    text: str = ""
    other: str = ""


def find(query: str, commands: Mapping[str, str]) -> list[Thing]:
    """Return the things in which every word of a query is found, the best of each group first.

    A topic brings what it lists, in that order, before the rest.

    Args:
        commands: name -> summary.
    """
    words = [_stem(word) for word in _words(query) if word not in _IGNORED]
    if not words:
        return []
    things = list(_things(commands))
    scores = {thing: _score(thing, words, simplify(query)) for thing in things}
    found = sorted((thing for thing in things if scores[thing]), key=lambda thing: -scores[thing])
    by_name = {thing.name: thing for thing in [*_selected(), *things]}
    topic = topic_of(query)
    first = [] if topic is None else [by_name[topic], *filter(None, (_listed(name, by_name) for name in TOPICS[topic]))]
    return sorted(dict.fromkeys([*first, *found]), key=lambda thing: GROUPS.index(thing.group))


def topic_of(query: str) -> str | None:
    """Return the topic that a query names, by its own or another word; None if it names none."""
    simple = "".join(_stem(word) for word in _words(query))
    named = {"".join(_stem(word) for word in _words(topic)): topic for topic in (*TOPICS, *ALSO)}
    topic = named.get(simple) or named.get(simplify(query))
    return None if topic is None else ALSO.get(topic, topic)


def _listed(name: str, by_name: Mapping[str, Thing]) -> Thing | None:
    """Return the thing that a topic lists; None for a page of docs, which an installed package does not have.

    "dlzoo show model resnet20" is the command `dlzoo show` with words.
    """
    known = by_name.get(name) or by_name.get(" ".join(name.split()[:2]))
    return None if known is None else replace(known, name=name)


def _score(thing: Thing, words: Sequence[str], query: str) -> int:
    """Return how well the words of a query fit a thing; 0 if one of them is not found in it."""
    if query in thing.other.split() or query == simplify(thing.name.rpartition("=")[2].rpartition(".")[2]):
        return 4 * _NAME
    # What a topic lists is found by itself.
    places = ((_NAME, f"{thing.name} {thing.other}"), (_ABOUT, "" if thing.group == "topics" else thing.about),
              (_TEXT, thing.text))  # fmt: skip
    total = 0
    for word in words:
        score = next((worth for worth, text in places if word in text.lower() and _has(text, word)), 0)
        if not score:
            return 0
        total += score
    return total


def _has(text: str, stem: str) -> bool:
    """Return whether a word of a text has a stem; a short one must be the whole word."""
    return any(stem == _stem(word) or (len(stem) > _STEM and word.startswith(stem)) for word in _words(text))


@cache
def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM:
            return word.removesuffix(ending)
    return word


@cache
def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()))


def _things(commands: Mapping[str, str]) -> Iterator[Thing]:
    for topic, listed in TOPICS.items():
        others = " ".join(simplify(word) for word, meant in ALSO.items() if meant == topic)
        yield Thing("topics", topic, ", ".join(listed), other=others)
    yield from _entries()
    yield from _settings()
    for name in config.names_of("experiment"):
        head = config.head_comment("experiment", name)
        question = next((line.partition(": ")[2] for line in head if line.startswith("Question:")), "")
        yield Thing("experiments", f"experiment={name}", question, " ".join(head))
    for name, about in commands.items():
        others = " ".join(word for word, meant in COMMANDS.items() if meant == name)
        yield Thing("commands", f"dlzoo {name}", about, other=others)
    yield from pages()


def _entries() -> Iterator[Thing]:
    for choice in LISTED:
        if choice in SELECTIONS:  # backbones are models, losses of boxes are losses
            continue
        for name in index.available(choice):
            entry = index.entries(choice)[name]
            others = " ".join(word for word, meant in NAMES.get(choice, {}).items() if meant == name)
            yield Thing("entries", f"{choice}={name}", _line(entry["doc"]), f"{entry['doc']} {entry['source']}", others)
    for choice in ("trainer", "executor"):
        for name in config.names_of(choice):
            yield Thing("entries", f"{choice}={name}", " ".join(config.head_comment(choice, name)[:1]))


def _selected() -> Iterator[Thing]:
    """Yield the entries that a topic may list, but that a search finds as those of another choice."""
    for choice in SELECTIONS:
        for name in index.available(choice):
            yield Thing("entries", f"{choice}={name}", _line(index.entries(choice)[name]["doc"]))


def _settings() -> Iterator[Thing]:
    """Yield each setting once; that of several entries has the sentence of the first that documents it."""
    about = dict.fromkeys(settings_of(RunSettings), "") | _comments()
    known: dict[str, str] = {}
    for key, schema, doc, owner in _documented():
        about[key] = about.get(key) or _sentence(key.partition(".")[2], doc)
        known.setdefault(key, f"{describe(schema)}{owner}")
    meanings = [(word, re.findall(r"([\w.]+)=", meant)) for word, meant in KEYS.items()]
    for key, line in about.items():
        others = " ".join(word for word, keys in meanings if key in keys)
        yield Thing("settings", key, _shorten(line or known.get(key, "")), line, others)


def _documented() -> Iterator[tuple[str, Mapping[str, Any], str, str]]:
    """Yield (key, schema, docstring, the entry that has it) of the settings of sections."""
    for key, schema in settings_of(TrainerSettings).items():
        yield f"trainer.{key}", schema, getdoc(TrainerSettings) or "", ""
    for choice in REGISTRIES:
        content = index.load()[choice]
        for key, schema in content["common"].items():
            yield f"{choice}.{key}", schema, content["about_common"], ""
        for name in index.available(choice):
            entry = content["entries"][name]
            for key, schema in entry["settings"].items():
                yield f"{choice}.{key}", schema, entry["doc"], f", as of {choice}={name}"


def _comments() -> dict[str, str]:
    """Return the comments of conf/config.yaml on settings of a run."""
    lines = read_text(config.conf_dir() / "config.yaml").splitlines()
    matches = (re.fullmatch(r"(\w+): .*? # (.*)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match and match[1] in settings_of(RunSettings)}


def _sentence(name: str, doc: str) -> str:
    """Return the first sentence of a docstring that begins with a setting; "" if there is none."""
    sentences = re.split(r"(?<=[.;])\s+", " ".join(doc.partition("\n\nRaises:")[0].split()))
    return next((each for each in sentences if each[0] == "`" and f"`{name}`" in each), "")


def pages() -> Iterator[Thing]:
    """Yield the sections of the pages in docs/: "docs/techniques.md#losses", its title, its text."""
    folder = config.conf_dir().parent / "docs"
    for path in sorted(folder.glob("*.md")):  # an installed package has none
        yield from _sections(path)


def _sections(path: Path) -> Iterator[Thing]:
    text = re.sub(r"^```.*?^```", "", read_text(path), flags=re.MULTILINE | re.DOTALL)
    page, _, _ = text.partition("\n")
    for part in re.split(r"^(?=#{1,3} )", text, flags=re.MULTILINE):
        title, _, body = part.partition("\n")
        title, is_page = title.lstrip("# "), part.startswith("# ")
        if title:
            anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            about = title if is_page else f"{page.lstrip('# ')}: {title}"
            yield Thing("pages", f"docs/{path.name}" + ("" if is_page else f"#{anchor}"), about, body)


def _line(doc: str) -> str:
    return _shorten(doc.partition("\n")[0].rstrip("."))


def _shorten(text: str) -> str:
    text = text.replace("`", "")
    return text if len(text) <= _LINE else f"{text[:_LINE].rpartition(' ')[0]} ..."
