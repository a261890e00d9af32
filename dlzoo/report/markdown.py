"""A report as Markdown, as GitHub reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dlzoo.report import details, tables
from dlzoo.report.content import Content
from dlzoo.report.glossary import how_to_read
from dlzoo.report.numbers import begun, plain
from dlzoo.report.picture import Picture
from dlzoo.report.table import Table

#: Rows of runs that are left out; there may be hundreds.
_MOST_RUNS = 20

#: A picture is drawn with twice the dots, for screens that have them.
_PIXELS = 520


def text(content: Content, pictures: Mapping[str, Picture], folder: str = "pictures") -> str:
    """The report; the pictures lie in `folder`, as seen from its file."""
    together = tables.overview(content)
    results = [_table(together)] if together else [means_table(content), effects_table(content)]
    unfinished = details.unfinished(content, _MOST_RUNS)
    said = f"{_line(details.states(content))}\n\n{_table(unfinished)}" if unfinished else ""
    parts = [
        f"# {_line(content.title)}",
        _line(content.question or ""),
        f"Expected: {_inline(content.expected)}" if content.expected else "",
        _quote(content.answer),
        _findings(content),
        _section(
            begun(content.metric.name),
            *results,
            _picture(pictures, "means", folder),
            _picture(pictures, "effects", folder),
            *map(_line, content.power),
        ),
        _section("Differences", effects_table(content)) if together else "",
        _section("Learning curves", _picture(pictures, "curves", folder)),
        _section("Cost", _table(tables.cost(content)), _picture(pictures, "cost", folder)),
        _section("By class", _picture(pictures, "classes", folder)),
        _section("Other metrics", _table(details.others(content))),
        _section("Runs that are left out", said),
        _section(
            "What was run",
            _table(details.factors(content)),
            _settings(content),
            _table(details.environment(content)),
        ),
        _section("Do it again", _code(content.commands)),
        _section("How to read this", *map(_line, how_to_read(content))),
        f"Written by dlzoo on {_inline(content.written)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def means_table(content: Content) -> str:
    """The metric of each cell; nothing if there is none."""
    return _table(tables.means(content))


def effects_table(content: Content) -> str:
    """Each arm against its baseline; nothing if there is none."""
    return _table(tables.effects(content))


def _table(found: Table | None) -> str:
    if found is None:
        return ""
    heads = [_inline(column.head) for column in found.columns]
    rules = ["---:" if column.kind == "number" else ":---" for column in found.columns]
    rows = [[_inline(text) for text in row] for row in found.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows))
    return f"{_line(found.caption)}\n\n{lines}"


def _findings(content: Content) -> str:
    if not content.findings:
        return ""
    items = [f"**{_inline(begun(each.kind.replace('_', ' ')))}:** {_inline(each.text)}" for each in content.findings]
    return "**Know this before you believe it**\n\n" + "\n".join(f"- {item}" for item in items)


def _picture(pictures: Mapping[str, Picture], name: str, folder: str) -> str:
    if name not in pictures:
        return ""
    alt = _html(pictures[name].alt)
    image = f'<img src="{folder}/{name}.png" width="{_PIXELS}" alt="{alt}">'
    return f"{image}\n\n*{_inline(pictures[name].caption)}*"


def _settings(content: Content) -> str:
    settings = [_inline(f"{key}={value}") for key, value in content.settings.items()]
    return f"The same in all runs: {', '.join(settings)}." if settings else ""


def _section(title: str, *parts: str) -> str:
    """Nothing if there is nothing in it."""
    body = [part for part in parts if part]
    return "\n\n".join([f"## {_line(title)}", *body]) if body else ""


def _quote(sentences: Iterable[str]) -> str:
    """The first sentence, which answers, in bold."""
    said = [_inline(sentence) for sentence in sentences]
    return "\n>\n".join(f"> {f'**{each}**' if place == 0 else each}" for place, each in enumerate(said))


def _code(lines: Iterable[str]) -> str:
    """A block whose fence is longer than any within it."""
    body = "\n".join(map(plain, lines))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}bash\n{body}\n{fence}" if body else ""


def _line(words: str) -> str:
    """Text on a line of its own, where "1." and "-" would begin a list, and "#" would end a heading."""
    safe = re.sub(r"^(\d+)(?=[.)])", r"\1\\", _inline(words))
    return re.sub(r"^(?=[-+#=])|(?=#$)", r"\\", safe)


def _inline(words: str) -> str:
    """Text that stays as it is; a sign that means nothing where it is, as in batch_size, stays bare."""
    safe = re.sub(r"([\\`*|~$])", r"\\\1", plain(words))
    safe = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", safe)
    safe = re.sub(r"\](?=[(\[:])", r"\\]", safe)
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html(words: str) -> str:
    """An attribute's value."""
    return plain(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
