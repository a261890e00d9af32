"""Make the tables of results; every format has the same rows."""

from __future__ import annotations

from dlzoo.report.content import Cell, Comparison, Content, Factor
from dlzoo.report.layout import count_of_seeds, crossed_factors, level
from dlzoo.report.numbers import (
    MINUS,
    NONE,
    capitalise,
    difference_digits,
    format_bytes,
    format_duration,
    format_fixed,
    format_integer,
    format_interval,
    format_large,
    format_mean,
    format_p,
    format_rate,
    mean_digits,
    one_line,
)
from dlzoo.report.table import Column, Row, Table, table
from dlzoo.report.words import explain_undecided, is_tabled

#: Levels of the two factors of a grid -> the cell.
Grid = dict[tuple[str, str], Cell]


def means(content: Content) -> Table | None:
    """Make the table of the metric of each cell; two crossed factors have one row per number, one column per level."""
    caption = f"{capitalise(content.metric.name)}: means{_interval_note(content)}"
    if grid := crossed_factors(content):
        columns, rows = _grid(content, *grid)
        return table("means", f"{caption}, over {count_of_seeds(content)} per cell.", columns, rows)
    digits = mean_digits(content)
    rows = [
        (
            *_names(content, cell),
            str(len(cell.values)),
            format_mean(cell.mean, cell.interval, digits),
            format_fixed(cell.deviation, digits),
        )
        for cell in content.cells
    ]
    columns = [*_name_columns(content), Column("seeds"), _metric_column(content), Column("deviation")]
    return table("means", f"{caption}, and the standard deviation over seeds.", columns, rows)


def effects(content: Content) -> Table | None:
    """Make the table of each arm's difference from its baseline."""
    digits, where = difference_digits(content), _where(content)
    pair = _only_pair(content)
    rows = [
        (
            one_line(each.context).removeprefix(f"{where}="),
            NONE if pair else _compared_levels(content, each),
            format_fixed(each.effect.difference, digits, signed=True),
            format_interval(each.effect.interval, digits, signed=True),
            each.verdict,
            format_p(each.effect.p),
            format_p(each.effect.adjusted),
            format_fixed(each.effect.size, 1, signed=True),
            _seeds(each),
            format_integer(each.seeds_needed),
        )
        for each in content.comparisons
    ]
    columns = [Column(where, "name"), Column("compared", "name"), Column("difference"), Column("95 % interval")]
    columns += [Column("verdict", "verdict"), Column("p"), Column("p, adjusted"), Column("difference / SD")]
    columns += [Column("seeds", "words"), Column("seeds needed")]
    better = "higher" if content.metric.higher_is_better else "lower"
    caption = f"Differences in {one_line(content.metric.name)} ({better} is better), {pair or 'arm minus baseline'}."
    if any(each.effect.size is not None for each in content.comparisons):
        caption += " “Difference / SD”: the difference divided by the standard deviation over seeds."
    caption = " ".join([caption, *explain_undecided(content.comparisons)])
    return table("effects", caption, columns, rows)


def answer(content: Content) -> Table | None:
    """Make the table that stands beside the answer where its numbers are too many for sentences; else None."""
    if not is_tabled(content):
        return None
    return effects(content) if content.comparisons else means(content)


def overview(content: Content) -> Table | None:
    """Make one table of means and differences; None if a cell is in several comparisons, or nothing is compared."""
    by_label = {each.label: each for each in content.comparisons}
    if not by_label or len(by_label) < len(content.comparisons):
        return None
    if grid := crossed_factors(content):
        return _overview_grid(content, by_label, *grid)
    digits = mean_digits(content)
    rows = [
        (
            *_names(content, cell),
            format_mean(cell.mean, cell.interval, digits),
            *_outcome(content, by_label.get(cell.label)),
        )
        for cell in content.cells
    ]
    columns = [*_name_columns(content), _metric_column(content), *_outcome_columns("difference", "")]
    caption = f"{capitalise(content.metric.name)}{_interval_note(content)}, over {count_of_seeds(content)} per setting"
    return table(
        "overview", f"{caption}, and the difference from the baseline{_adjustment_note(content)}.", columns, rows
    )


def cost(content: Content) -> Table | None:
    """Make the table of the cost of each cell beside its metric; None if no cost is known."""
    digits = mean_digits(content)
    facts = [
        (
            format_integer(cell.params),
            format_large(cell.macs),
            format_rate(cell.images_per_second),
            format_duration(cell.seconds),
            format_bytes(cell.memory),
        )
        for cell in content.cells
    ]
    if all(fact == NONE for row in facts for fact in row):
        return None
    rows = [
        (*_names(content, cell), format_fixed(cell.mean, digits), *row)
        for cell, row in zip(content.cells, facts, strict=True)
    ]
    heads = ("parameters", "multiply-adds", "images/s", "time", "peak memory")
    columns = [*_name_columns(content), _metric_column(content), *map(Column, heads)]
    timed = any(cell.seconds is not None for cell in content.cells)
    caption = "Cost: parameters, multiply-adds per image, peak memory. " + (
        "Speed and time are means over the runs that had the machine to themselves."
        if timed
        else "Speed and time are left out: no run is known to have had the machine to itself."
    )
    return table("cost", caption, columns, rows)


def _grid(content: Content, against: Factor, along: Factor) -> tuple[list[Column], list[Row]]:
    """Make one row per level of `along`, one column per level of `against`, and the seeds if their number differs."""
    digits, cells = mean_digits(content), _by_levels(content, against, along)
    differ = len({len(cell.values) for cell in content.cells}) > 1
    rows = []
    for x in along.levels:
        row_cells = [cells.get((one_line(arm), one_line(x))) for arm in against.levels]
        means = [NONE if cell is None else format_mean(cell.mean, cell.interval, digits) for cell in row_cells]
        seeds = ", ".join(str(len(cell.values)) if cell else "0" for cell in row_cells)
        rows.append((one_line(x), *means, seeds if differ else NONE))
    heads = [one_line(arm) + (" (baseline)" if arm == against.baseline else "") for arm in against.levels]
    return [Column(one_line(along.key), "name"), *map(Column, heads), Column("seeds", "words")], rows


def _overview_grid(content: Content, by_label: dict[str, Comparison], against: Factor, along: Factor) -> Table | None:
    columns, rows = _grid(content, against, along)
    cells = _by_levels(content, against, along)
    arms = [arm for arm in against.levels if arm != against.baseline]
    for arm in arms:
        difference = f"{one_line(arm)} {MINUS} {one_line(against.baseline or NONE)}"
        columns += _outcome_columns(difference, "" if len(arms) == 1 else f" ({one_line(arm)})")
        for place, x in enumerate(along.levels):
            cell = cells.get((one_line(arm), one_line(x)))
            comparison = by_label.get(cell.label) if cell else None
            rows[place] += _outcome(content, comparison) if comparison else (NONE,) * 4
    caption = f"{capitalise(content.metric.name)}{_interval_note(content)}, over {count_of_seeds(content)} per cell"
    return table("overview", f"{caption}{_adjustment_note(content)}.", columns, rows)


def _by_levels(content: Content, against: Factor, along: Factor) -> Grid:
    return {(level(content, cell, against), level(content, cell, along)): cell for cell in content.cells}


def _outcome_columns(difference: str, suffix: str) -> list[Column]:
    return [
        Column(difference),
        Column(f"95 % interval{suffix}"),
        Column(f"p{suffix}"),
        Column(f"verdict{suffix}", "verdict"),
    ]


def _outcome(content: Content, comparison: Comparison | None) -> Row:
    if comparison is None:
        return "baseline", NONE, NONE, NONE
    digits, effect = difference_digits(content), comparison.effect
    return (
        format_fixed(effect.difference, digits, signed=True),
        format_interval(effect.interval, digits, signed=True),
        format_p(effect.p if effect.adjusted is None else effect.adjusted),
        comparison.verdict,
    )


def _name_columns(content: Content) -> list[Column]:
    return [Column(one_line(factor.key), "name") for factor in content.factors] or [Column("setting", "name")]


def _names(content: Content, cell: Cell) -> Row:
    if not content.factors:
        return (one_line(cell.label),)
    marks = [" (baseline)" if cell.is_baseline and factor.compared else "" for factor in content.factors]
    return tuple(level(content, cell, factor) + mark for factor, mark in zip(content.factors, marks, strict=True))


def _metric_column(content: Content) -> Column:
    return Column(one_line(content.metric.name))


def _interval_note(content: Content) -> str:
    return " with 95 % intervals" if any(cell.interval for cell in content.cells) else ""


def _adjustment_note(content: Content) -> str:
    known = any(each.effect.adjusted is not None for each in content.comparisons)
    return "; p is adjusted for the number of comparisons" if known else ""


def _where(content: Content) -> str:
    """Return the header of the column of contexts: the key of the context if it is the same for all comparisons."""
    keys = {each.context.partition("=")[0] for each in content.comparisons}
    return one_line(keys.pop()) if len(keys) == 1 and len(content.factors) == 2 else "other settings"


def _only_pair(content: Content) -> str:
    """Return "gn - bn" if it is the only compared pair, in several contexts, to name it once in the caption."""
    pairs = {(each.factor, each.level, each.against) for each in content.comparisons}
    if len(pairs) != 1 or not all(each.context for each in content.comparisons):
        return ""
    ((_, level, against),) = pairs
    return f"{one_line(level)} {MINUS} {one_line(against)}"


def _compared_levels(content: Content, comparison: Comparison) -> str:
    several_factors = len({each.factor for each in content.comparisons}) > 1
    key = f"{one_line(comparison.factor)}=" if several_factors else ""
    return f"{key}{one_line(comparison.level)} against {one_line(comparison.against)}"


def _seeds(comparison: Comparison) -> str:
    effect = comparison.effect
    if not effect.paired:
        return f"{effect.seeds} and {effect.baseline_seeds}, unpaired"
    left = f", {len(effect.left_out)} left out" if effect.left_out else ""
    return f"{effect.seeds} paired{left}"
