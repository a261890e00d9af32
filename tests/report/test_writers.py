"""Reports as pages, tables and pictures: that they say what the content says, and no name breaks them."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from markdown_it import MarkdownIt

from dlzoo.comparison.statistics import Interval
from dlzoo.report import details, html, latex, markdown, numbers, plots, tables
from dlzoo.report.content import Content
from dlzoo.report.json_file import as_json
from dlzoo.report.layout import crossed_factors
from dlzoo.report.means import axis_positions
from dlzoo.report.plot import COLOURS, INK, Plot, limit_axis
from dlzoo.report.table import Table
from tests.fake_report import HOSTILE, VARIANTS, norms

VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use", "rect", "circle", "line"}
DRAWN = {
    "norms": {"means", "effects", "curves", "cost", "classes"},
    "activations": {"means", "effects", "curves", "cost", "classes"},
    "one_seed": {"means", "effects", "curves", "cost", "classes"},
    "alone": {"means", "curves"},
    "nothing_finished": set(),
    "running": {"means", "effects", "curves", "cost", "classes"},
    "hostile": {"means", "effects", "curves", "cost", "classes"},
    "many_cells": {"means", "effects", "curves", "cost", "classes"},
    "many_classes": {"means", "effects", "curves", "classes"},
    "rates": {"means", "effects", "curves"},
    "long_names": {"means", "effects", "curves", "cost", "classes"},
}
TABLES = (
    tables.means, tables.effects, tables.overview, tables.cost, details.by_seed, details.others, details.classes,
    details.class_differences, details.factors, details.environment, details.unfinished,
)  # fmt: skip
every = pytest.mark.parametrize("name", VARIANTS)


@cache
def content(name: str) -> Content:
    return VARIANTS[name]()


@cache
def drawn(name: str) -> dict[str, Plot]:
    return plots.draw(content(name))


@cache
def page(name: str) -> str:
    return html.page(content(name), drawn(name))


def found(table: Table | None) -> Table:
    assert table is not None
    return table


def values(text: str) -> list[float]:
    """The numbers in a text, which has true minus signs."""
    return [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", text.replace(numbers.MINUS, "-"))]


# Numbers


@pytest.mark.parametrize(
    ("scale", "halves", "digits"),
    [
        (0.74, [0.006, 0.012], 4),
        (0.74, [0.0006], 5),
        (0.74, [0.12], 4),
        (1.0, [], 4),
        (0.74, [1e-12], 6),  # equal runs do not make a table of noughts
        (0.74, [0.0], 4),
        (2.31, [0.02], 3),
        (31.2, [4.0], 2),
        (3120.0, [120.0], 0),
        (3120.0, [0.5], 2),
        (1.3e-5, [2e-7], 8),
        (0.0005, [0.0065], 4),  # an interval that is far wider than the number
        (0.0, [], 4),
    ],
)
def test_digits_follow_the_uncertainty(scale: float, halves: list[float], digits: int) -> None:
    assert numbers.decimals(scale, [None, *(Interval(-half, half) for half in halves)]) == digits


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (numbers.format_fixed(-0.012, 4, signed=True), "\N{MINUS SIGN}0.0120"),
        (numbers.format_fixed(0.012, 3, signed=True), "+0.012"),
        (numbers.format_fixed(-0.00001, 3, signed=True), "+0.000"),
        (numbers.format_fixed(math.nan, 3), numbers.NONE),
        (numbers.format_mean(0.742, Interval(0.736, 0.748), 4), "0.7420 ± 0.0060"),
        (numbers.format_mean(0.742, None, 3), "0.742"),
        (numbers.format_p(2 / 256), "0.0078"),
        (numbers.format_p(1.0), "1.0000"),
        (numbers.format_p(2e-6), "<0.0001"),
        (numbers.format_p(None), numbers.NONE),
        (numbers.format_integer(269_722), "269,722"),
        (numbers.format_large(40_813_184), "40.8 M"),
        (numbers.format_large(999_999), "1.00 M"),
        (numbers.format_large(4_089_284_608), "4.09 G"),
        (numbers.format_bytes(1_150_795_776), "1.15 GB"),
        (numbers.format_bytes(412e6), "412 MB"),
        (numbers.format_duration(3.44), "3.4 s"),
        (numbers.format_duration(34.2), "34 s"),
        (numbers.format_duration(740), "12 min"),
        (numbers.format_duration(3 * 3600), "3.0 h"),
        (numbers.format_rate(1890.3), "1,890"),
        (numbers.count_of(1, "seed"), "1 seed"),
        (numbers.shorten("abcdefghij", 7), "abc…hij"),
        (numbers.one_line("a\n\x00b \udc80 c"), "a b c"),
    ],
)
def test_numbers_as_one_reads_them(said: str, text: str) -> None:
    assert said == text


# Tables


@every
def test_means_are_those_of_the_content(name: str) -> None:
    table, made = tables.means(content(name)), content(name)
    if not made.cells:
        assert table is None
        return
    columns, grid = found(table).columns, crossed_factors(made)
    metric = [place for place, column in enumerate(columns) if column.head == numbers.one_line(made.metric.name)]
    places = [place for place, column in enumerate(columns) if column.kind == "number"] if grid else metric
    texts = [row[place] for row in found(table).rows for place in places]
    assert len(texts) == len(made.cells)
    lengths = {len(text.split(" ")[0].partition(".")[2]) for text in texts}
    assert len(lengths) == 1  # all have as many digits
    (digits,) = lengths
    for cell, text in zip(made.cells, texts, strict=True):
        said = values(text)
        assert abs(said[0] - cell.mean) <= 0.5001 * 10**-digits
        if cell.interval:
            half = (cell.interval.high - cell.interval.low) / 2
            assert abs(said[1] - half) <= 0.5001 * 10**-digits
            assert half >= 10 ** (1 - digits)  # two significant digits
        else:
            assert len(said) == 1


@every
def test_effects_are_those_of_the_content(name: str) -> None:
    made, table = content(name), tables.effects(content(name))
    if not made.comparisons:
        assert table is None
        return
    heads = [column.head for column in found(table).columns]
    for comparison, row in zip(made.comparisons, found(table).rows, strict=True):
        said, effect = dict(zip(heads, row, strict=True)), comparison.effect
        assert said["verdict"] == comparison.verdict
        assert values(said["difference"]) == pytest.approx([effect.difference], abs=0.0006)
        if effect.interval and effect.p is not None and effect.size is not None:
            assert values(said["95 % interval"]) == pytest.approx([effect.interval.low, effect.interval.high], abs=6e-4)
            assert values(said["p"]) == pytest.approx([effect.p], abs=6e-5)
            assert values(said["difference / SD"]) == pytest.approx([effect.size], abs=0.06)
        else:
            assert not {"p", "95 % interval", "difference / SD"} & said.keys()


def test_two_crossed_factors_make_a_grid() -> None:
    made = content("norms")
    table = found(tables.overview(made))
    assert [column.head for column in table.columns[:4]] == [
        "data.batch_size", "bn (baseline)", "gn", f"gn {numbers.MINUS} bn",
    ]  # fmt: skip
    assert [row[0] for row in table.rows] == ["2", "4", "8", "16", "32"]
    for row, comparison in zip(table.rows, made.comparisons, strict=True):
        assert values(row[3]) == pytest.approx([comparison.effect.difference], abs=6e-5)
        assert values(row[5]) == pytest.approx([comparison.effect.adjusted], abs=6e-5)
        assert row[6] == comparison.verdict


def test_a_cell_with_fewer_seeds_and_one_without_runs_are_told_apart() -> None:
    made = content("running")
    short = replace(made, cells=made.cells[1:])  # batch 4 has no bn
    table = found(tables.means(short))
    assert [column.head for column in table.columns][-1] == "seeds"
    assert table.rows[0][1:] == (numbers.NONE, found(tables.means(made)).rows[0][2], "0, 7")


def test_a_cell_that_is_compared_twice_has_no_row_of_its_own() -> None:
    assert tables.overview(content("many_cells")) is None
    assert len(found(tables.effects(content("many_cells"))).rows) == 40


def test_what_all_rows_would_say_stands_in_the_caption() -> None:
    alone, several = found(tables.effects(content("norms"))), found(tables.effects(content("activations")))
    assert "compared" not in [column.head for column in alone.columns]
    assert f"gn {numbers.MINUS} bn" in alone.caption
    assert [row[0] for row in several.rows[:2]] == ["leaky_relu against relu", "elu against relu"]


def test_unpaired_and_left_out_seeds_are_said() -> None:
    made = content("activations")
    first = made.comparisons[0]
    unpaired = replace(first, effect=replace(first.effect, paired=False, seeds=8, baseline_seeds=5))
    table = found(tables.effects(replace(made, comparisons=[unpaired])))
    assert "8 and 5, unpaired" in table.rows[0]
    assert "Welch" in html.page(replace(made, comparisons=[unpaired]), {})
    assert any("left out" in text for row in found(tables.effects(content("running"))).rows for text in row)


def test_what_is_unknown_has_no_column() -> None:
    made = content("norms")
    bare = [
        replace(cell, params=None, macs=None, images_per_second=None, seconds=None, memory=None) for cell in made.cells
    ]
    assert tables.cost(replace(made, cells=bare)) is None
    timed = [replace(cell, seconds=34.0) for cell in bare]
    heads = [column.head for column in found(tables.cost(replace(made, cells=timed))).columns]
    assert heads == ["norm", "data.batch_size", "test accuracy", "time"]


def test_runs_left_out_are_listed_and_counted() -> None:
    made = content("running")
    assert [row[1] for row in found(details.unfinished(made)).rows] == ["failed", "running", "damaged"]
    assert len(found(details.unfinished(made, 1)).rows) == 1
    assert "2 more" in found(details.unfinished(made, 1)).caption
    assert details.states(made) == "70 of 80 runs are finished; 1 failed, 1 running, 1 damaged, 7 missing."
    assert details.states(content("norms")) == "All 80 runs are finished."


# Pictures


@every
def test_every_picture_is_drawn(name: str) -> None:
    assert drawn(name).keys() == DRAWN[name]
    assert set(plots.NAMES) >= DRAWN[name]
    for key, picture in drawn(name).items():
        assert picture.name == key
        assert picture.caption.endswith(".") and picture.alt.endswith(".")
        root = ElementTree.fromstring(picture.svg)
        assert root.get("aria-label") == numbers.one_line(picture.alt)
        texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
        assert texts  # letters are letters
        assert not any("$" in (text.text or "") for text in texts) or name == "hostile"
        assert INK not in picture.svg and "currentColor" in picture.svg
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids)) and all(str(each).startswith(f"{key}-") for each in ids)
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', picture.svg)) == set(ids)
        assert picture.figure.get_figwidth() == pytest.approx(5.2)


@pytest.mark.parametrize("name", ["activations", "hostile"])
def test_equal_contents_make_equal_bytes(name: str) -> None:
    again = plots.draw(VARIANTS[name]())
    assert [picture.svg for picture in again.values()] == [picture.svg for picture in drawn(name).values()]
    assert html.page(VARIANTS[name](), again) == page(name)
    assert again["effects"].png == drawn(name)["effects"].png
    assert again["effects"].png.startswith(b"\x89PNG") and b"matplotlib" not in again["effects"].png


def test_lines_go_through_the_means_and_seeds_are_dots() -> None:
    made = content("norms")
    (axes,) = drawn("norms")["means"].figure.axes
    heights = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    for norm in ("bn", "gn"):
        means = [cell.mean for cell in made.cells if cell.levels[0] == f"norm={norm}"]
        assert any(len(line) == 5 and np.allclose(line, means) for line in heights)
    for cell in made.cells:
        assert any(len(line) == 8 and np.allclose(line, list(cell.values.values())) for line in heights)
        assert cell.interval
        assert any(len(line) == 2 and np.allclose(line, [cell.interval.low, cell.interval.high]) for line in heights)


def test_the_forest_shows_differences_and_verdicts() -> None:
    made = content("norms")
    (axes,) = drawn("norms")["effects"].figure.axes
    places = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if len(np.asarray(line.get_xdata())) == 1]
    assert places == pytest.approx([each.effect.difference for each in made.comparisons])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2", "4", "8", "16", "32"]
    assert [text.get_text() for text in axes.texts] == [each.verdict for each in made.comparisons]


def test_an_arm_has_one_colour_in_all_pictures() -> None:
    shown = drawn("norms")
    in_effects = {line.get_color() for line in shown["effects"].figure.axes[0].lines if line.get_marker() == "s"}
    in_means = {line.get_color() for line in shown["means"].figure.axes[0].lines if line.get_marker() == "s"}
    assert in_effects == in_means and len(in_means) == 1


@pytest.mark.parametrize(
    ("levels", "by_log"),
    [(("2", "4", "8", "16", "32"), True), (("1", "2", "3", "4"), False), (("0", "0.5", "1"), False),
     (("0.001", "0.01", "0.03", "0.1"), True), (("-1", "0", "10"), False)],
)  # fmt: skip
def test_powers_stand_by_their_logarithms(levels: tuple[str, ...], by_log: bool) -> None:
    heights = list(axis_positions(levels).values())
    expected = [math.log2(float(each)) if by_log else float(each) for each in levels]
    assert heights == pytest.approx(expected)


def test_a_huge_interval_does_not_flatten_a_picture() -> None:
    axes = drawn("alone")["means"].figure.axes[0]
    kept = axes.get_xlim()
    assert limit_axis(axes, "x", [0.70, 0.71], [Interval(-3, 4)])
    low, high = axes.get_xlim()
    assert 0.66 < low < 0.70 and 0.71 < high < 0.75
    assert not limit_axis(axes, "x", [0.70, 0.71], [Interval(0.695, 0.715)])
    axes.set_xlim(*kept)


def test_cells_that_cost_the_same_are_not_drawn_against_cost() -> None:
    made = content("norms")
    same = [replace(cell, params=1, macs=1, seconds=60.0, images_per_second=100.0) for cell in made.cells]
    assert "cost" not in plots.draw(replace(made, cells=same, comparisons=[]))


def test_the_pareto_front_is_what_no_other_beats_in_both() -> None:
    made = content("activations")
    alt = drawn("activations")["cost"].alt
    better = [
        cell for cell in made.cells
        if not any((o.macs or 0) <= (cell.macs or 0) and o.mean > cell.mean for o in made.cells)
    ]  # fmt: skip
    assert f"by multiply-adds {', '.join(cell.label for cell in better)};" in alt
    assert "sigmoid" not in alt  # dear and bad


def test_what_is_left_out_of_a_picture_is_said() -> None:
    assert "Showing 30 of 100 classes" in drawn("many_classes")["classes"].caption
    assert "Showing 6 of 10 settings" in drawn("many_cells")["curves"].caption
    assert "Showing 6 of 40 comparisons" in drawn("many_cells")["classes"].caption


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_seen_on_light_and_dark() -> None:
    style = page("alone").split("<style>")[1].split("</style>")[0]
    themes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(themes) == 2 and themes[0].keys() == themes[1].keys()
    for theme in themes:
        for key in ("ink", "quiet", "accent", "better", "worse", "equivalent"):
            assert contrast(theme[key], theme["paper"]) >= 4.5
        assert contrast(theme["notice"], theme["notice-paper"]) >= 4.5
        assert contrast(theme["ink"], theme["notice-paper"]) >= 7
        for colour in COLOURS:
            assert contrast(colour, theme["paper"]) >= 3


# The page


class Page(HTMLParser):
    """Balance, ids, outside references, and what the tables say."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, attributes))
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("id"):
            self.ids.append(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.tags if found == tag]


@every
def test_the_page_is_whole_and_needs_nothing_else(name: str) -> None:
    text, parsed = page(name), Page(page(name))
    assert not parsed.open
    assert len(parsed.ids) == len(set(parsed.ids))
    assert text.startswith("<!doctype html>") and parsed.all("html") == [{"lang": "en"}]
    assert len(parsed.all("h1")) == 1 and len(parsed.all("main")) == 1
    assert not {"script", "link", "img", "iframe", "object", "base", "a"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        for key, value in attributes.items():
            assert not key.startswith("on") and key not in ("src", "srcset", "action")
            assert "href" not in key or str(value).startswith("#")
            if key == "aria-labelledby":
                assert value in parsed.ids
    outside = re.findall(r"https?:[^\s\"'<]*|url\((?!#)|@import", text)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}
    metas = {str(meta.get("name") or meta.get("http-equiv")): meta.get("content") for meta in parsed.all("meta")}
    assert metas["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert metas["viewport"] and metas["color-scheme"] == "light dark"


@every
def test_every_figure_has_a_caption_and_a_text_alternative(name: str) -> None:
    blocks = re.findall(r"<figure>(.*?)</figure>", page(name), re.S)
    assert len(blocks) == len(DRAWN[name])
    for block in blocks:
        assert re.search(r'<svg role="img" aria-label="[^"]{20,}"', block)
        assert re.search(r"<figcaption>.{20,}</figcaption>", block)


@every
def test_tables_of_the_page_are_those_of_the_content(name: str) -> None:
    parsed, made = Page(page(name)), content(name)
    expected = [table for make in TABLES if make is not tables.overview and (table := make(made))]
    rows = [tuple(row) for row in parsed.rows]
    for table in expected:
        assert tuple(column.head for column in table.columns) in rows
        assert set(table.rows) <= set(rows)
    assert len(parsed.all("caption")) == len(parsed.all("table")) == len(expected)
    assert all(head.get("scope") in ("col", "row") for head in parsed.all("th"))
    assert all(box.get("tabindex") == "0" for box in parsed.all("div") if box.get("class") == "scroll")


@every
def test_the_page_says_all_sentences(name: str) -> None:
    made, said = content(name), " ".join(Page(page(name)).text.split())
    expected = [made.title, *made.answer, *made.power, *made.settings, *made.commands]
    expected += [finding.text for finding in made.findings] + [each.error for each in made.unfinished]
    for sentence in [*expected, made.question or "", made.expected or ""]:
        assert numbers.one_line(sentence) in said


def test_the_answer_comes_first_and_findings_before_numbers() -> None:
    text = page("running").split("<body>")[1]
    order = [text.index(part) for part in ("Does norm matter", "<h2>Answer", "<h2>Cautions", "<table", "<pre")]
    assert order == sorted(order)


def test_no_name_becomes_markup() -> None:
    parsed = Page(page("hostile"))
    assert not parsed.all("script")
    assert parsed.text.count("<script>alert('&amp;')</script>") > 20


# Markdown


@every
def test_markdown_tables_hold_the_rows(name: str) -> None:
    """As another program reads them."""
    made = content(name)
    text = markdown.text(made, drawn(name))
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parsed = Page(f"<body>{reader.render(text)}</body>")
    rows = [tuple(" ".join(cell.split()) for cell in row) for row in parsed.rows]
    makes = (tables.effects, tables.cost, details.others, details.factors, details.environment, details.unfinished)
    expected = [table for make in (tables.overview, *makes) if (table := make(made))]
    if not tables.overview(made) and (means := tables.means(made)):
        expected.append(means)
    for table in expected:
        assert tuple(column.head for column in table.columns) in rows
        assert set(table.rows) <= set(rows)
    assert len(parsed.all("table")) == len(expected)
    assert [image["src"] for image in parsed.all("img")] == [
        f"pictures/{key}.png" for key in ("means", "effects", "curves", "cost", "classes") if key in drawn(name)
    ]
    assert all(image["alt"] for image in parsed.all("img"))
    assert not {"script", "a", "s", "del"} & {tag for tag, _ in parsed.tags}
    said = " ".join(parsed.text.split())
    for sentence in (made.title, made.question or "", *made.answer, *made.power, *made.commands):
        assert numbers.one_line(sentence) in said


@every
def test_markdown_tables_have_as_many_cells_in_each_row(name: str) -> None:
    for block in markdown.text(content(name), drawn(name)).split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1


def test_one_compact_table_of_a_grid() -> None:
    (block, *_) = [each for each in markdown.text(content("norms"), {}).split("\n\n") if each.startswith("|")]
    assert len(block.split("\n")) == 7
    assert "data.batch_size" in block  # underscores stay readable


# LaTeX


@every
def test_latex_is_balanced_and_escaped(name: str) -> None:
    text = latex.text(content(name))
    body = "\n".join(line for line in text.split("\n") if not line.startswith("%"))
    environments: list[str] = []
    for what, which in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", body):
        if what == "begin":
            environments.append(which)
        else:
            assert environments.pop() == which
    assert not environments
    bare = re.sub(r"\\\\|\\[{}$&#%_]", "", body)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[#_^~<|\"]", outside.replace(r"\width>", ""))
    assert set(re.findall(r"%.*", outside)) <= {"%"}  # which ends a line of ours


@every
def test_latex_rows_have_as_many_cells_as_the_head(name: str) -> None:
    text, made = latex.text(content(name)), content(name)
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.S):
        rows = [row for row in re.split(r" \\\\\n", block.replace("\\midrule\n", "")) if row]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
        assert not any(row.lstrip().startswith(("[", "*")) for row in rows)
    expected = [tables.overview(made) or tables.means(made), tables.effects(made), tables.cost(made)]
    assert text.count(r"\toprule") == sum(table is not None for table in expected)
    assert text.startswith("%") and r"\usepackage{booktabs}" in text


def test_latex_sets_numbers_as_formulas() -> None:
    text = latex.text(content("norms"))
    cell = content("norms").cells[0]
    assert cell.interval
    assert rf"${cell.mean:.4f} \pm {cell.interval.high - cell.mean:.4f}$" in text
    assert "$809{,}166$" in text
    assert numbers.MINUS not in text and "±" not in text


# JSON


@every
def test_json_holds_everything_and_any_reader_reads_it(name: str) -> None:
    made, said = content(name), as_json(content(name))
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert list(said) == [field.name for field in fields(Content)]
    for cell, of in zip(made.cells, said["cells"], strict=True):
        assert of["values"] == {str(seed): value for seed, value in cell.values.items()}
        assert of["label"] == cell.label and of["mean"] == cell.mean
        for key, curve in cell.curves.items():
            assert of["curves"][key]["mean"] == [None if math.isnan(value) else value for value in curve.mean]
    for comparison, of in zip(made.comparisons, said["comparisons"], strict=True):
        assert of["effect"]["difference"] == comparison.effect.difference
        assert len(of["per_class"]) == len(comparison.per_class)
    assert {key: of.keys() for key, of in said["others"].items()} == {key: of.keys() for key, of in made.others.items()}


@pytest.mark.parametrize("write", [markdown.text, html.page])
def test_a_report_without_pictures_is_whole(write: Callable[..., str]) -> None:
    made = norms()
    assert "<img" not in write(made, {}) and "<figure" not in write(made, {})
    assert HOSTILE not in write(made, {})
