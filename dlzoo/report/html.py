"""Write a report as one self-contained HTML page: no scripts, no fonts, no links."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources

from dlzoo.report import details, tables
from dlzoo.report.content import Content
from dlzoo.report.glossary import how_to_read
from dlzoo.report.numbers import NONE, capitalise, one_line
from dlzoo.report.plot import Plot
from dlzoo.report.table import Column, Table

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
"""

#: Letters up to which a cell is not broken into lines: the table scrolls if it is too wide.
_WHOLE = 24

#: Letters up to which an answer is set in large type.
_BRIEF = 160

#: Rows above which a table is collapsed, so that the rest of the page stays easy to find.
_LONG = 24


def page(content: Content, plots: Mapping[str, Plot]) -> str:
    """Return the page; `plots` are those of `plots.draw`."""
    style = resources.files("dlzoo.report").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        part
        for part in (
            f"{_HEAD}<title>{_text(content.title)}: report</title>\n<style>\n{style}</style>\n</head>\n<body>",
            _header(content),
            "<main>",
            _answer(content),
            _findings(content),
            _results(content, plots),
            _section("Learning curves", _figures(plots, "curves")),
            _section("Cost", _figures(plots, "cost"), _table(tables.cost(content))),
            _section("By class", _figures(plots, "classes"), _of_classes(content)),
            _section("Other metrics", _table(details.others(content))),
            _section("Excluded runs", _excluded_runs(content)),
            _section("Settings and environment", _what_was_run(content)),
            _section("Reproduce", _commands(content)),
            _section("How to read this", _paragraphs(how_to_read(content))),
            "</main>",
            f"<footer><p>Written by dlzoo on {_text(content.written)} from {_text(content.folder)}.</p></footer>",
            "</body>\n</html>\n",
        )
        if part
    )


def fragment(content: Content) -> str:
    """Return the answer, the cautions and the tables of results as a part of a page, for notebooks."""
    parts = (
        _paragraphs(content.answer),
        _list(f"{_kind(each.kind)}: {_text(each.text)}" for each in content.findings) if content.findings else "",
        _table(tables.means(content)),
        _table(tables.effects(content)),
    )
    return "\n".join(("<div>", *(part for part in parts if part), "</div>"))


def _header(content: Content) -> str:
    expected = f'<p class="quiet">Expected: {_text(content.expected)}</p>' if content.expected else ""
    states = f'<p class="quiet">{_text(details.states(content))}</p>'
    if not content.question:
        return f'<header>\n<h1 class="question">{_text(content.title)}</h1>\n{states}\n</header>'
    question = f'<p class="question">{_text(content.question)}</p>'
    return f"<header>\n<h1>{_text(content.title)}</h1>\n{question}\n{expected}\n{states}\n</header>"


def _answer(content: Content) -> str:
    if not content.answer:
        return ""
    brief = " brief" if len(content.answer[0]) <= _BRIEF else ""
    return f'<section class="answer{brief}">\n<h2>Answer</h2>\n{_paragraphs(content.answer)}\n</section>'


def _findings(content: Content) -> str:
    """Return the box of cautions, or one line if there are none."""
    if not content.findings and not content.comparisons:
        return ""
    if not content.findings:
        return '<p class="quiet">The checks for a fair comparison found no problems.</p>'
    items = [f"<strong>{_kind(each.kind)}:</strong> {_text(each.text)}" for each in content.findings]
    noise = _table(details.noise(content)) if any(each.kind == "noise" for each in content.findings) else ""
    return f'<section class="notice">\n<h2>Cautions</h2>\n{_list(items)}\n{noise}</section>'


def _kind(kind: str) -> str:
    """Return the kind of a finding as a heading: "Learning rate"."""
    return escape(capitalise(kind.replace("_", " ")))


def _results(content: Content, plots: Mapping[str, Plot]) -> str:
    seeds = details.by_seed(content)
    above = tables.answer(content)  # the numbers of the answer come first, after the cautions
    shown = [table for table in (tables.means(content), tables.effects(content)) if table != above]
    return _section(
        capitalise(content.metric.name),
        _table(above),
        _figures(plots, "means", "effects"),
        *map(_table, shown),
        f"<h3>Statistical power</h3>\n{_paragraphs(content.power)}" if content.power else "",
        _fold("Every run", _rows(seeds)) if seeds else "",
    )


def _of_classes(content: Content) -> str:
    differences, means = details.class_differences(content), details.classes(content)
    return "\n".join([
        _fold("Differences of every class", _rows(differences)) if differences else "",
        _fold(f"{content.class_metric.capitalize()} of every class", _rows(means)) if means else "",
    ])  # fmt: skip


def _excluded_runs(content: Content) -> str:
    table = _table(details.unfinished(content))
    return f"<p>{_text(details.states(content))}</p>\n{table}" if table else ""


def _what_was_run(content: Content) -> str:
    settings = [f"<code>{_text(f'{key}={value}')}</code>" for key, value in content.settings.items()]
    return "\n".join([
        _table(details.factors(content)),
        f'<h3>Settings of all runs</h3>\n<ul class="settings">{_items(settings)}</ul>' if settings else "",
        _table(details.environment(content)),
    ])  # fmt: skip


def _commands(content: Content) -> str:
    lines = "\n".join(escape(one_line(line)) for line in content.commands)
    return f'<pre tabindex="0"><code>{lines}</code></pre>' if lines else ""


def _section(title: str, *parts: str) -> str:
    """Return a section; an empty string if it has no content."""
    body = "\n".join(part for part in parts if part.strip())
    return f"<section>\n<h2>{_text(title)}</h2>\n{body}\n</section>" if body else ""


def _figures(plots: Mapping[str, Plot], *names: str) -> str:
    shown = [
        f"<figure>\n{plot.svg}<figcaption>{_text(plot.caption)}</figcaption>\n</figure>"
        for name in names
        if (plot := plots.get(name))
    ]
    return f'<div class="plots">\n{"".join(shown)}\n</div>' if shown else ""


def _table(table: Table | None) -> str:
    """Return a table, collapsed if it is long; an empty string for None."""
    if table is None:
        return ""
    if len(table.rows) > _LONG:
        return _fold(f"Table with {len(table.rows):,} rows", _rows(table))
    return _rows(table)


def _rows(table: Table) -> str:
    """Return a table. It scrolls, also with the keyboard, if it is wider than the page."""
    heads = "".join(f'<th scope="col"{_class(column)}>{_text(column.head)}</th>' for column in table.columns)
    rows = "\n".join(
        f"<tr>{''.join(_cell(column, text) for column, text in zip(table.columns, row, strict=True))}</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="table-{table.name}">\n<table>\n'
        f'<caption id="table-{table.name}"><span>{_text(table.caption)}</span></caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _cell(column: Column, text: str) -> str:
    if column.kind == "verdict" and text != NONE:
        return f'<td class="verdict {escape(text)}">{_text(text)}</td>'
    if column.kind == "number":
        return f"<td{_class(column)}>{_text(text)}</td>"
    length = "whole" if len(text) <= _WHOLE else "long"
    if column.kind == "name":
        return f'<th scope="row" class="{length}">{_text(text)}</th>'
    return f'<td class="{length}">{_text(text)}</td>'


def _class(column: Column) -> str:
    return ' class="number"' if column.kind == "number" else ""


def _fold(summary: str, body: str) -> str:
    return f"<details>\n<summary>{_text(summary)}</summary>\n{body}\n</details>"


def _paragraphs(sentences: Iterable[str]) -> str:
    return "\n".join(f"<p>{_text(sentence)}</p>" for sentence in sentences)


def _list(items: Iterable[str]) -> str:
    return f"<ul>{_items(items)}</ul>"


def _items(items: Iterable[str]) -> str:
    return "".join(f"<li>{item}</li>" for item in items)


def _text(text: str) -> str:
    """Escape text; the name of an option is not broken after its hyphens."""
    return re.sub(r"(?<!\S)--[a-z][a-z-]*", r'<span class="whole">\g<0></span>', escape(one_line(text)))
