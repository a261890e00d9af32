"""Plot the differences of the classes from the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

from matplotlib.figure import Figure

from dlzoo.report.content import ClassDifference, Comparison, Content
from dlzoo.report.effects_plot import Row, colours, forest, title
from dlzoo.report.layout import count_of_seeds, space_evenly
from dlzoo.report.numbers import format_fixed, one_line, wrap
from dlzoo.report.plot import WIDTH, Plot, count_omitted, limit_axis, row_labels

_MOST_CLASSES = 30

#: Letters of a line of a class's name.
_LETTERS = 16

#: Columns of panels -> letters of a line of a title.
_TITLE = {1: 36, 2: 16, 3: 14}


def classes(content: Content) -> Plot | None:
    """Plot the difference of each class, with one panel per comparison; None if there are no classes."""
    compared = [each for each in content.comparisons if any(math.isfinite(one.difference) for one in each.per_class)]
    if not compared:
        return None
    all_names = {one.name for each in compared for one in each.per_class}
    shown = space_evenly(compared, 6 if len(all_names) <= 12 else 3)
    class_differences = [{one.name: one for one in each.per_class if math.isfinite(one.difference)} for each in shown]
    means, names = _most_different(class_differences)
    figure, cut = _panels(content, shown, class_differences, names)
    caption = " ".join([
        f"{content.class_metric.capitalize()} of each class, arm minus baseline,",
        f"with 95 % intervals over {count_of_seeds(content)}.",
        *count_omitted(len(shown), len(compared), "comparisons"),
        *count_omitted(len(names), len(means), "classes", "those with the largest differences"),
        *(["Intervals that exceed the axes are cut off."] if cut else []),
    ])  # fmt: skip
    panels = "1 comparison" if len(shown) == 1 else f"{len(shown)} comparisons"
    alt = (
        f"Differences of {content.class_metric} of {len(names)} classes in {panels}. On average "
        f"{one_line(names[0])} gains most, {format_fixed(means[names[0]], 3, signed=True)}; "
        f"{one_line(names[-1])} least, {format_fixed(means[names[-1]], 3, signed=True)}."
    )
    return Plot("classes", figure, caption, alt)


def _panels(
    content: Content,
    shown: Sequence[Comparison],
    class_differences: Sequence[Mapping[str, ClassDifference]],
    names: Sequence[str],
) -> tuple[Figure, bool]:
    """Draw one panel per comparison; return the figure, and whether an interval is cut off."""
    titles = [title(content, comparison).split(": ", 1) for comparison in shown]
    columns = min(3 if max(map(len, chain(*titles))) <= 14 else 2, len(shown))
    lines = -(-len(shown) // columns)
    _, tall = row_labels(names, _LETTERS)
    figure = Figure(figsize=(WIDTH, 0.9 + lines * (0.45 + 0.2 * tall * max(len(names), 3))), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    missing, places = ClassDifference("", math.nan, None), colours(content)
    for axes, comparison, per_class, above in zip(panels, shown, class_differences, titles, strict=False):
        differences = [per_class.get(name, missing) for name in names]
        place = places.get(comparison.label, 0)
        rows = [Row(name, one.difference, one.interval, place) for name, one in zip(names, differences, strict=True)]
        forest(axes, rows, _LETTERS)
        axes.set_title("\n".join(wrap(line, _TITLE[columns], 2) for line in above), fontsize=10.5)
        axes.locator_params(axis="x", nbins=5 - columns)
        axes.tick_params(axis="x", labelsize=11.5 if columns == 1 else 9.5)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[: len(shown)][-columns:]:  # the lowest panel of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"difference of {content.class_metric} from the baseline", fontsize=11.5)
    drawn = [one for per_class in class_differences for name, one in per_class.items() if name in names]
    cut = limit_axis(panels[0], "x", [0.0, *(one.difference for one in drawn)], [one.interval for one in drawn])
    return figure, cut


def _most_different(class_differences: Sequence[Mapping[str, ClassDifference]]) -> tuple[dict[str, float], list[str]]:
    """Return the mean difference of each class, and the classes that differ most, from largest gain to largest loss."""
    by_name: dict[str, list[float]] = {}
    for per_class in class_differences:
        for name, one in per_class.items():
            by_name.setdefault(name, []).append(one.difference)
    means = {name: sum(differences) / len(differences) for name, differences in by_name.items()}
    names = sorted(by_name, key=lambda name: -max(map(abs, by_name[name])))[:_MOST_CLASSES]
    return means, sorted(names, key=lambda name: -means[name])
