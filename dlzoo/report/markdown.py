"""Write a report as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from dlzoo.report import details, tables
from dlzoo.report.content import Content
from dlzoo.report.glossary import how_to_read
from dlzoo.report.numbers import capitalise, one_line
from dlzoo.report.plot import Plot
from dlzoo.report.table import Table

#: Most rows of excluded runs; there may be hundreds.
_MOST_RUNS = 20

#: Displayed width of a plot. The file has twice as many, for high-resolution screens.
_PIXELS = 520


def text(content: Content, plots: Mapping[str, Plot], folder: str = "pictures") -> str:
    """Return the report; `folder` is the folder of the plots, relative to the report's file."""
    together, above = tables.overview(content), tables.answer(content)
    noise = details.noise(content) if any(each.kind == "noise" for each in content.findings) else None
    apart = [table for table in (tables.means(content), tables.effects(content)) if table != above]
    unfinished = details.unfinished(content, _MOST_RUNS)
    excluded = f"{_line(details.states(content))}\n\n{_table(unfinished)}" if unfinished else ""
    parts = [
        f"# {_line(content.title)}",
        _line(content.question or ""),
        f"Expected: {_inline(content.expected)}" if content.expected else "",
        _quote(content.answer),
        _findings(content),
        _table(noise),
        _table(above),
        _section(
            capitalise(content.metric.name),
            *map(_table, [together] if together else apart),
            _plot(plots, "means", folder),
            _plot(plots, "effects", folder),
            *map(_line, content.power),
        ),
        _section("Differences", _table(tables.effects(content))) if together and not above else "",
        _section("Learning curves", _plot(plots, "curves", folder)),
        _section("Cost", _table(tables.cost(content)), _plot(plots, "cost", folder)),
        _section("By class", _plot(plots, "classes", folder)),
        _section("Other metrics", _table(details.others(content))),
        _section("Excluded runs", excluded),
        _section(
            "Settings and environment",
            _table(details.factors(content)),
            _settings(content),
            _table(details.environment(content)),
        ),
        _section("Reproduce", _code(content.commands)),
        _section("How to read this", *map(_line, how_to_read(content))),
        f"Written by dlzoo on {_inline(content.written)}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(table: Table | None) -> str:
    if table is None:
        return ""
    heads = [_inline(column.head) for column in table.columns]
    rules = ["---:" if column.kind == "number" else ":---" for column in table.columns]
    rows = [[_inline(text) for text in row] for row in table.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows))
    return f"{_line(table.caption)}\n\n{lines}"


def _findings(content: Content) -> str:
    if not content.findings:
        return ""
    items = [
        f"**{_inline(capitalise(each.kind.replace('_', ' ')))}:** {_inline(each.text)}" for each in content.findings
    ]
    return "**Cautions**\n\n" + "\n".join(f"- {item}" for item in items)


def _plot(plots: Mapping[str, Plot], name: str, folder: str) -> str:
    if name not in plots:
        return ""
    alt = _html(plots[name].alt)
    image = f'<img src="{folder}/{name}.png" width="{_PIXELS}" alt="{alt}">'
    return f"{image}\n\n*{_inline(plots[name].caption)}*"


def _settings(content: Content) -> str:
    settings = [_inline(f"{key}={value}") for key, value in content.settings.items()]
    return f"Settings of all runs: {', '.join(settings)}." if settings else ""


def _section(title: str, *parts: str) -> str:
    """Return a section; an empty string if it has no content."""
    body = [part for part in parts if part]
    return "\n\n".join([f"## {_line(title)}", *body]) if body else ""


def _quote(sentences: Iterable[str]) -> str:
    """Quote the answer, with its first sentence in bold."""
    quoted = [_inline(sentence) for sentence in sentences]
    return "\n>\n".join(f"> {f'**{each}**' if place == 0 else each}" for place, each in enumerate(quoted))


def _code(lines: Iterable[str]) -> str:
    """Return a code block whose fence is longer than any fence within it."""
    body = "\n".join(map(one_line, lines))
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", body)), default=0))
    return f"{fence}bash\n{body}\n{fence}" if body else ""


def _line(words: str) -> str:
    """Escape text that begins a line, where "1." and "-" would begin a list; a final "#" would end a heading."""
    safe = re.sub(r"^(\d+)(?=[.)])", r"\1\\", _inline(words))
    return re.sub(r"^(?=[-+#=])|(?=#$)", r"\\", safe)


def _inline(words: str) -> str:
    """Escape text within a line; characters that need no escape where they are, as in batch_size, are kept."""
    safe = re.sub(r"([\\`*|~$])", r"\\\1", one_line(words))
    safe = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", safe)
    safe = re.sub(r"\](?=[(\[:])", r"\\]", safe)
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html(words: str) -> str:
    """Escape the value of an HTML attribute."""
    return one_line(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
