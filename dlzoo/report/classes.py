"""Which classes gain and which lose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

from matplotlib.figure import Figure

from dlzoo.report.content import ClassDifference, Comparison, Content
from dlzoo.report.effects_plot import Row, colours, forest, title
from dlzoo.report.layout import evenly, seeds_said
from dlzoo.report.numbers import fixed, plain, short
from dlzoo.report.picture import WIDTH, Picture, omitted, window

_MOST_CLASSES = 30


def classes(content: Content) -> Picture | None:
    """How differently the classes are recognised, a panel a comparison; None where there are no classes."""
    compared = [each for each in content.comparisons if any(math.isfinite(one.difference) for one in each.per_class)]
    if not compared:
        return None
    all_names = {one.name for each in compared for one in each.per_class}
    shown = evenly(compared, 6 if len(all_names) <= 12 else 3)
    found = [{one.name: one for one in each.per_class if math.isfinite(one.difference)} for each in shown]
    means, names = _most_different(found)
    figure, cut = _panels(content, shown, found, names)
    caption = " ".join([
        f"{content.class_metric.capitalize()} of each class, the arm minus its baseline,",
        f"with 95 % intervals over {seeds_said(content)}.",
        *omitted(len(shown), len(compared), "comparisons"),
        *omitted(len(names), len(means), "classes", "those with the largest differences"),
        *(["Intervals that leave the picture are cut."] if cut else []),
    ])  # fmt: skip
    panels = "1 comparison" if len(shown) == 1 else f"{len(shown)} comparisons"
    alt = (
        f"Differences of {content.class_metric} of {len(names)} classes in {panels}. On average "
        f"{plain(names[0])} gains most, {fixed(means[names[0]], 3, signed=True)}; "
        f"{plain(names[-1])} least, {fixed(means[names[-1]], 3, signed=True)}."
    )
    return Picture("classes", figure, caption, alt)


def _panels(
    content: Content, shown: Sequence[Comparison], found: Sequence[Mapping[str, ClassDifference]], names: Sequence[str]
) -> tuple[Figure, bool]:
    """A panel a comparison. Returns: the figure, and whether an interval is cut."""
    titles = [title(content, comparison).split(": ", 1) for comparison in shown]
    columns = min(3 if max(map(len, chain(*titles))) <= 15 else 2, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(WIDTH, 0.9 + lines * (0.45 + 0.2 * max(len(names), 3))), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    missing, places = ClassDifference("", math.nan, None), colours(content)
    for axes, comparison, of, above in zip(panels, shown, found, titles, strict=False):
        differences = [of.get(name, missing) for name in names]
        place = places.get(comparison.label, 0)
        rows = [Row(name, one.difference, one.interval, place) for name, one in zip(names, differences, strict=True)]
        forest(axes, rows, most=16)
        axes.set_title("\n".join(short(line, 48 // columns) for line in above), fontsize=10.5)
        axes.locator_params(axis="x", nbins=8 // columns)
        axes.tick_params(axis="x", labelsize=9.5 if columns == 3 else 11.5)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[: len(shown)][-columns:]:  # those that nothing stands below
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"difference of {content.class_metric} from the baseline", fontsize=11.5)
    drawn = [one for of in found for name, one in of.items() if name in names]
    cut = window(panels[0], "x", [0.0, *(one.difference for one in drawn)], [one.interval for one in drawn])
    return figure, cut


def _most_different(found: Sequence[Mapping[str, ClassDifference]]) -> tuple[dict[str, float], list[str]]:
    """The mean difference of each class, and those that differ most, from the greatest gain to the greatest loss."""
    by_name: dict[str, list[float]] = {}
    for of in found:
        for name, one in of.items():
            by_name.setdefault(name, []).append(one.difference)
    means = {name: sum(differences) / len(differences) for name, differences in by_name.items()}
    names = sorted(by_name, key=lambda name: -max(map(abs, by_name[name])))[:_MOST_CLASSES]
    return means, sorted(names, key=lambda name: -means[name])
