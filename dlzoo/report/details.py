"""The tables that one looks things up in: every seed, every class, other metrics, settings, runs left out."""

from __future__ import annotations

from collections.abc import Mapping

from dlzoo.comparison.statistics import Interval
from dlzoo.report.content import Content
from dlzoo.report.numbers import (
    NONE,
    begun,
    between,
    counted,
    decimals,
    fixed,
    mean_digits,
    plain,
    with_interval,
)
from dlzoo.report.table import Column, Row, Table, table

#: Digits of what is measured of a class.
_DIGITS = 4


def by_seed(content: Content) -> Table | None:
    """The metric of every run; None with one seed, where the means say it."""
    digits = mean_digits(content)
    rows = [
        (plain(cell.label), *(fixed(cell.values.get(seed), digits) for seed in content.seeds)) for cell in content.cells
    ]
    columns = [Column("setting", "name"), *(Column(f"seed {seed}") for seed in content.seeds)]
    caption = f"{begun(content.metric.name)} of every run."
    return table("seeds", caption, columns, rows) if len(content.seeds) > 1 else None


def others(content: Content) -> Table | None:
    """The other metrics, a column each."""
    found = [
        {cell.label: of[cell.label] for cell in content.cells if cell.label in of} for of in content.others.values()
    ]
    known = [(of, _digits(of)) for of in found]
    rows = [
        (plain(cell.label), *(
            with_interval(*of[cell.label], digits) if cell.label in of else NONE for of, digits in known
        ))
        for cell in content.cells
    ]  # fmt: skip
    columns = [Column("setting", "name"), *(Column(plain(key)) for key in content.others)]
    intervals = " with 95 % intervals" if any(interval for of in found for _, interval in of.values()) else ""
    return table("others", f"Other metrics, means{intervals}.", columns, rows) if content.others else None


def _digits(of: Mapping[str, tuple[float, Interval | None]]) -> int:
    return decimals(max((abs(mean) for mean, _ in of.values()), default=0.0), [interval for _, interval in of.values()])


def classes(content: Content) -> Table | None:
    """What is measured of every class, in every cell."""
    names = dict.fromkeys(name for cell in content.cells for name in cell.per_class)
    rows = [(plain(name), *(fixed(cell.per_class.get(name), _DIGITS) for cell in content.cells)) for name in names]
    columns = [Column("class", "name"), *(Column(plain(cell.label)) for cell in content.cells)]
    return table("class-means", f"{content.class_metric.capitalize()} of every class, means over seeds.", columns, rows)


def class_differences(content: Content) -> Table | None:
    """How every class differs from the baseline, in every comparison."""
    compared = [each for each in content.comparisons if each.per_class]
    found = [
        {one.name: _difference(one.difference, one.interval) for one in comparison.per_class} for comparison in compared
    ]
    names = dict.fromkeys(name for of in found for name in of)
    rows: list[Row] = [(plain(name), *(of.get(name, NONE) for of in found)) for name in names]
    columns = [Column("class", "name"), *(Column(plain(f"{each.label} against {each.baseline}")) for each in compared)]
    caption = f"Differences of {content.class_metric} from the baseline, with 95 % intervals."
    return table("class-differences", caption, columns, rows)


def _difference(difference: float, interval: Interval | None) -> str:
    known = fixed(difference, _DIGITS, signed=True)
    return f"{known} {between(interval, _DIGITS, signed=True)}" if interval else known


def factors(content: Content) -> Table | None:
    """What varies, and what goes along with it."""
    rows: list[Row] = []
    for factor in content.factors:
        role = f"compared with {plain(factor.baseline or NONE)}" if factor.compared else "around the comparison"
        rows.append((plain(factor.key), ", ".join(map(plain, factor.levels)), role, _following(factor.follows)))
    for key, of in content.joint.items():
        values = ", ".join(map(plain, dict.fromkeys(of.values())))
        rows.append((plain(key), values, "decided by several together", _following({key: of})))
    columns = [Column("setting", "name"), Column("values", "words"), Column("role", "words")]
    columns.append(Column("goes with it", "words"))
    return table("factors", "What varies between the settings that are compared.", columns, rows)


def _following(follows: Mapping[str, Mapping[str, str]]) -> str:
    said = []
    for key, of in follows.items():
        said.append(f"{plain(key)}: {', '.join(f'{plain(value)} for {plain(level)}' for level, value in of.items())}")
    return "; ".join(said) or NONE


def environment(content: Content) -> Table | None:
    """What ran the runs; how many where it was not the same for all."""
    rows: list[Row] = []
    for key, of in content.environment.items():
        several = len(of) > 1
        said = [plain(value) + (f" ({counted(runs, 'run')})" if several else "") for value, runs in of.items()]
        rows.append((plain(key), ", ".join(said)))
    return table("environment", "What ran the runs.", [Column("what", "name"), Column("which", "words")], rows)


def unfinished(content: Content, most: int | None = None) -> Table | None:
    """The runs that the numbers do without; at most so many rows."""
    left_out = content.unfinished[:most]
    rows: list[Row] = [(plain(each.label), plain(each.state), plain(each.error) or NONE) for each in left_out]
    more = len(content.unfinished) - len(left_out)
    caption = "Runs that the numbers do without" + (f"; {more:,} more are in report.json." if more else ".")
    return table("unfinished", caption, [Column("run", "name"), Column("state", "words"), Column("why", "words")], rows)


def states(content: Content) -> str:
    """ "70 of 80 runs are finished; 1 failed, 1 running, 8 missing."."""
    total, finished = sum(content.states.values()), content.states.get("finished", 0)
    rest = [f"{number:,} {plain(state)}" for state, number in content.states.items() if state != "finished" and number]
    if rest:
        return f"{finished:,} of {counted(total, 'run')} are finished; {', '.join(rest)}."
    return "The one run is finished." if total == 1 else f"All {counted(total, 'run')} are finished."
