"""Make the detailed tables: seeds, classes, other metrics, settings, environment, excluded runs."""

from __future__ import annotations

from collections.abc import Mapping

from dlzoo.comparison.fairness import is_within_noise, opposite_sign
from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Content
from dlzoo.report.numbers import (
    NONE,
    capitalise,
    count_of,
    decimals,
    difference_digits,
    format_fixed,
    format_interval,
    format_mean,
    mean_digits,
    one_line,
)
from dlzoo.report.table import Column, Row, Table, table
from dlzoo.report.words import describe_comparison

#: Digits of per-class results.
_DIGITS = 4


def by_seed(content: Content) -> Table | None:
    """Make the table of the metric of every run; None with one seed, where it would repeat the means."""
    digits = mean_digits(content)
    rows = [
        (one_line(cell.label), *(format_fixed(cell.values.get(seed), digits) for seed in content.seeds))
        for cell in content.cells
    ]
    columns = [Column("setting", "name"), *(Column(f"seed {seed}") for seed in content.seeds)]
    caption = f"{capitalise(content.metric.name)} of every run."
    return table("seeds", caption, columns, rows) if len(content.seeds) > 1 else None


def others(content: Content) -> Table | None:
    """Make the table of the other metrics, one column each."""
    metrics = [
        {cell.label: by_label[cell.label] for cell in content.cells if cell.label in by_label}
        for by_label in content.others.values()
    ]
    known = [(by_label, _digits(by_label)) for by_label in metrics]
    rows = [
        (one_line(cell.label), *(
            format_mean(*by_label[cell.label], digits) if cell.label in by_label else NONE for by_label, digits in known
        ))
        for cell in content.cells
    ]  # fmt: skip
    columns = [Column("setting", "name"), *(Column(one_line(key)) for key in content.others)]
    intervals = (
        " with 95 % intervals" if any(interval for by_label in metrics for _, interval in by_label.values()) else ""
    )
    return table("others", f"Other metrics, means{intervals}.", columns, rows) if content.others else None


def _digits(by_label: Mapping[str, tuple[float, Interval | None]]) -> int:
    return decimals(
        max((abs(mean) for mean, _ in by_label.values()), default=0.0), [interval for _, interval in by_label.values()]
    )


def noise(content: Content) -> Table | None:
    """Make the table of the undecided comparisons whose difference is smaller than the seed-to-seed variation."""
    digits = difference_digits(content)
    small = [each for each in content.comparisons if is_within_noise(each.effect, each.verdict)]
    rows: list[Row] = [
        (
            describe_comparison(each),
            format_fixed(each.effect.difference, digits, signed=True),
            format_fixed(each.effect.noise, digits),
            f"{100 * (opposite_sign(each.effect) or 0):.0f} %",
        )
        for each in small
    ]
    columns = [Column("comparison", "name"), Column("difference"), Column("SD over seeds"), Column("opposite sign")]
    caption = (
        "Differences smaller than the seed-to-seed variation. “Opposite sign”: how often one seed of each arm would "
        "show a difference of the other sign."
    )
    return table("noise", caption, columns, rows)


def classes(content: Content) -> Table | None:
    """Make the table of the per-class metric of every cell."""
    names = dict.fromkeys(name for cell in content.cells for name in cell.per_class)
    rows = [
        (one_line(name), *(format_fixed(cell.per_class.get(name), _DIGITS) for cell in content.cells)) for name in names
    ]
    columns = [Column("class", "name"), *(Column(one_line(cell.label)) for cell in content.cells)]
    return table("class-means", f"{content.class_metric.capitalize()} of every class, means over seeds.", columns, rows)


def class_differences(content: Content) -> Table | None:
    """Make the table of every class's difference from the baseline, in every comparison."""
    compared = [each for each in content.comparisons if each.per_class]
    differences = [
        {one.name: _difference(one.difference, one.interval) for one in comparison.per_class} for comparison in compared
    ]
    names = dict.fromkeys(name for by_name in differences for name in by_name)
    rows: list[Row] = [(one_line(name), *(by_name.get(name, NONE) for by_name in differences)) for name in names]
    columns = [
        Column("class", "name"),
        *(Column(one_line(f"{each.label} against {each.baseline}")) for each in compared),
    ]
    caption = f"Differences of {content.class_metric} from the baseline, with 95 % intervals."
    return table("class-differences", caption, columns, rows)


def _difference(difference: float, interval: Interval | None) -> str:
    known = format_fixed(difference, _DIGITS, signed=True)
    return f"{known} {format_interval(interval, _DIGITS, signed=True)}" if interval else known


def factors(content: Content) -> Table | None:
    """Make the table of the factors, with the settings that follow them."""
    rows: list[Row] = []
    for factor in content.factors:
        role = f"compared with {one_line(factor.baseline or NONE)}" if factor.compared else "context of the comparison"
        rows.append(
            (one_line(factor.key), ", ".join(map(one_line, factor.levels)), role, _format_following(factor.follows))
        )
    for key, by_label in content.joint.items():
        values = ", ".join(map(one_line, dict.fromkeys(by_label.values())))
        rows.append((one_line(key), values, "depends on several factors", _format_following({key: by_label})))
    columns = [Column("setting", "name"), Column("values", "words"), Column("role", "words")]
    columns.append(Column("settings that follow", "words"))
    return table("factors", "Settings that vary between the runs.", columns, rows)


def _format_following(follows: Mapping[str, Mapping[str, str]]) -> str:
    parts = []
    for key, by_level in follows.items():
        values = ", ".join(f"{one_line(value)} for {one_line(level)}" for level, value in by_level.items())
        parts.append(f"{one_line(key)}: {values}")
    return "; ".join(parts) or NONE


def environment(content: Content) -> Table | None:
    """Make the table of versions and hardware; with the number of runs where these differ."""
    rows: list[Row] = []
    for key, counts in content.environment.items():
        differs = len(counts) > 1
        words = [one_line(value) + (f" ({count_of(runs, 'run')})" if differs else "") for value, runs in counts.items()]
        rows.append((one_line(key), ", ".join(words)))
    return table(
        "environment",
        "Versions, data and hardware of the runs.",
        [Column("item", "name"), Column("value", "words")],
        rows,
    )


def unfinished(content: Content, most: int | None = None) -> Table | None:
    """Make the table of the runs that are excluded from the numbers, of at most `most` rows."""
    excluded = content.unfinished[:most]
    rows: list[Row] = [(one_line(each.label), one_line(each.state), one_line(each.error) or NONE) for each in excluded]
    more = len(content.unfinished) - len(excluded)
    caption = "Runs that are excluded from the numbers" + (f"; {more:,} more are in report.json." if more else ".")
    return table("unfinished", caption, [Column("run", "name"), Column("state", "words"), Column("why", "words")], rows)


def states(content: Content) -> str:
    """Return a sentence such as "70 of 80 runs are finished; 1 failed, 1 running, 8 missing."."""
    total, finished = sum(content.states.values()), content.states.get("finished", 0)
    rest = [
        f"{number:,} {one_line(state)}" for state, number in content.states.items() if state != "finished" and number
    ]
    if rest:
        return f"{finished:,} of {count_of(total, 'run')} are finished; {', '.join(rest)}."
    return "The one run is finished." if total == 1 else f"All {count_of(total, 'run')} are finished."
