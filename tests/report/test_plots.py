"""The plots of a report: that all text is inside the figure, and no two labels cover each other."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dlzoo.report import plots, tables
from dlzoo.report.content import Content
from dlzoo.report.cost import cost
from dlzoo.report.curves import curves
from dlzoo.report.effects_plot import effects
from dlzoo.report.means import means
from dlzoo.report.numbers import wrap
from dlzoo.report.plot import Plot, use_style
from tests.fake_report import VARIANTS, norms
from tests.plots import check_epochs


@cache
def content(name: str) -> Content:
    return VARIANTS[name]()


@cache
def drawn(name: str) -> dict[str, Plot]:
    return plots.draw(content(name))


def tick_labels(axis: Axis, limits: tuple[float, float], place: int) -> Iterator[Text]:
    """The labels of ticks within the limits; matplotlib has others, which it does not draw."""
    low, high = sorted(limits)
    room = 1e-9 * (high - low)
    for label in axis.get_ticklabels():
        if low - room <= label.get_position()[place] <= high + room:
            yield label


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """The drawn texts of a figure, with the boxes that they take in pixels."""
    canvas = FigureCanvasAgg(figure)
    with use_style():
        figure.draw_without_rendering()
        renderer = canvas.get_renderer()
        ticks = {
            id(label)
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for label in axis.get_ticklabels(which="both")
        }
        shown = [text for text in figure.findobj(Text) if id(text) not in ticks and _is_visible(text, figure)]
        for axes in figure.axes:
            if axes.get_visible():
                shown += [*tick_labels(axes.xaxis, axes.get_xlim(), 0), *tick_labels(axes.yaxis, axes.get_ylim(), 1)]
        return [(text.get_text(), text.get_window_extent(renderer)) for text in shown
                if text.get_text().strip() and text.get_visible()]  # fmt: skip


def _is_visible(text: Text, figure: Figure) -> bool:
    return not isinstance(text.axes, Axes) or text.axes.get_visible()


@pytest.mark.parametrize("name", VARIANTS)
def test_all_text_is_inside_the_figure_and_labels_do_not_overlap(name: str) -> None:
    for key, plot in drawn(name).items():
        width, height = plot.figure.bbox.size
        shown = texts(plot.figure)
        assert shown
        for text, box in shown:
            inside = box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2
            assert inside, f"{key}: {text!r} is at {box.extents} of {width:.0f} x {height:.0f}"
        for (one, box), (other, rest) in combinations(shown, 2):
            across, along = min(box.x1, rest.x1) - max(box.x0, rest.x0), min(box.y1, rest.y1) - max(box.y0, rest.y0)
            assert across <= 2 or along <= 4, f"{key}: {one!r} and {other!r} overlap by {across:.0f} x {along:.0f}"


def test_curves_have_whole_epochs_and_the_last_one_is_labelled() -> None:
    panels = [axes for name in VARIANTS if "curves" in drawn(name) for axes in drawn(name)["curves"].figure.axes]
    labelled = [axes for axes in panels if axes.get_xlabel() == "epoch"]
    assert labelled
    for axes in labelled:
        check_epochs(axes)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("momentum, lr=0.001, batch_size=128", ["momentum, lr=0.001,", "batch_size=128"]),
        ("optimizer.lr_reference_batch=128", ["optimizer.lr_reference_", "batch=128"]),
        ("x" * 30, ["x" * 24, "x" * 6]),
        ("bn", ["bn"]),
        ("", [""]),
    ],
)
def test_a_long_name_is_wrapped_rather_than_cut(text: str, lines: list[str]) -> None:
    assert wrap(text, 24).split("\n") == lines


def test_only_what_no_line_holds_is_cut() -> None:
    broken = wrap("word " * 40, 24).split("\n")
    assert len(broken) == 3 and all(len(line) <= 24 for line in broken) and "…" in "".join(broken)


def test_names_of_arms_are_whole_in_the_forest() -> None:
    (axes,) = drawn("long_names")["effects"].figure.axes
    names = [label.get_text().replace("\n", "") for label in axes.get_yticklabels()]
    assert names.count("squeeze_and_excitation_reduction_1024") == 2


def test_an_interval_that_excludes_0_says_why_it_is_undecided() -> None:
    made = content("long_names")
    (axes,) = drawn("long_names")["effects"].figure.axes
    notes = [text.get_text() for text in axes.texts]
    excluded = [each.effect.interval and each.effect.interval.low > 0 for each in made.comparisons]
    assert len(set(notes)) == 2 and notes.count("undecided:\ntoo few seeds") == sum(map(bool, excluded))
    assert "which so few seeds cannot give" in drawn("long_names")["effects"].caption
    enough = [replace(each, effect=replace(each.effect, smallest_p=0.01, adjusted=0.07)) for each in made.comparisons]
    with use_style():
        plot = effects(replace(made, comparisons=enough))
    assert plot and "undecided:\np = 0.0700" in [text.get_text() for text in plot.figure.axes[0].texts]


def test_one_seed_says_n() -> None:
    shown = drawn("one_seed")
    assert shown["means"].figure.axes[0].get_ylabel() == "test accuracy (n = 1)"
    assert {text.get_text() for text in shown["effects"].figure.axes[0].texts} == {"undecided\n(n = 1)"}
    assert all("one seed (n = 1)" in plot.caption for plot in shown.values())
    made = content("activations")
    few = [*made.cells[:-1], replace(made.cells[-1], values={0: made.cells[-1].mean}, interval=None)]
    with use_style():
        plot = means(replace(made, cells=few))
    assert plot and [label.get_text() for label in plot.figure.axes[0].get_yticklabels()][-1] == "sigmoid (n = 1)"


def test_few_seeds_are_lines_and_many_are_a_band() -> None:
    made = norms(seeds=3, batches=("2", "4", "8"))
    with use_style():
        few, many, crowded = (curves(each) for each in (made, content("norms"), content("long_names")))
    assert few and many and crowded
    first = few.figure.axes[0]
    assert len(first.lines) == 2 * (1 + 3) and not first.collections
    low, high = first.get_ylim()
    heights = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in first.lines])
    assert low <= heights.min() and heights.max() <= high
    assert "faint lines for single seeds" in few.caption
    assert len(many.figure.axes[0].lines) == 2 == len(many.figure.axes[0].collections) and "95 % bands" in many.caption
    assert len(crowded.figure.axes[0].lines) == 8 and not crowded.figure.axes[0].collections
    assert "without bands" in crowded.caption
    styles = {(line.get_color(), line.get_linestyle()) for line in crowded.figure.axes[0].lines}
    assert len(styles) == 8  # arms of the same colour differ in their dashes


def test_cost_is_counted_unless_the_times_are_of_a_machine_of_their_own() -> None:
    made = content("norms")
    counted = replace(made, cells=[replace(each, seconds=None, images_per_second=None) for each in made.cells])
    with use_style():
        timed, plain = cost(made), cost(counted)
    assert timed and plain
    assert [axes.get_xlabel() for axes in timed.figure.axes] == ["multiply-adds (millions)", "time of a run (min)"]
    assert [axes.get_xlabel() for axes in plain.figure.axes] == ["multiply-adds (millions)"]
    for plot in (timed, plain):
        labels = [text.get_text() for axes in plot.figure.axes for text in axes.texts]
        assert set(labels) <= {"2", "4", "8", "16", "32"} and len(labels) >= 6 * len(plot.figure.axes)
    table = tables.cost(counted)
    assert table and "time" not in [column.head for column in table.columns] and "left out" in table.caption
