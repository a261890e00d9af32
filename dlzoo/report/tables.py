"""The tables of results; every format has the same rows."""

from __future__ import annotations

from dlzoo.report.content import Cell, Comparison, Content, Factor
from dlzoo.report.layout import crossed, level, seeds_said
from dlzoo.report.numbers import (
    MINUS,
    NONE,
    begun,
    between,
    difference_digits,
    duration,
    fixed,
    large,
    mean_digits,
    memory,
    p_value,
    plain,
    rate,
    whole,
    with_interval,
)
from dlzoo.report.table import Column, Row, Table, table

#: Levels of the two factors of a grid -> the cell.
Grid = dict[tuple[str, str], Cell]


def means(content: Content) -> Table | None:
    """The metric of each cell; where two factors cross, a row a number and a column a level."""
    caption = f"Mean {plain(content.metric.name)}{_with_intervals(content)}"
    if grid := crossed(content):
        columns, rows = _grid(content, *grid)
        return table("means", f"{caption}, over {seeds_said(content)} a cell.", columns, rows)
    digits = mean_digits(content)
    rows = [
        (
            *_names(content, cell),
            str(len(cell.values)),
            with_interval(cell.mean, cell.interval, digits),
            fixed(cell.deviation, digits),
        )
        for cell in content.cells
    ]
    columns = [*_name_columns(content), Column("seeds"), _metric_column(content), Column("deviation")]
    return table("means", f"{caption}, and the standard deviation over seeds.", columns, rows)


def effects(content: Content) -> Table | None:
    """Each arm against its baseline."""
    digits, where = difference_digits(content), _where(content)
    pair = _only_pair(content)
    rows = [
        (
            plain(each.context).removeprefix(f"{where}="),
            NONE if pair else _compared(content, each),
            fixed(each.effect.difference, digits, signed=True),
            between(each.effect.interval, digits, signed=True),
            each.verdict,
            p_value(each.effect.p),
            p_value(each.effect.adjusted),
            fixed(each.effect.size, 1, signed=True),
            _seeds(each),
            whole(each.seeds_needed),
        )
        for each in content.comparisons
    ]
    columns = [Column(where, "name"), Column("compared", "name"), Column("difference"), Column("95 % interval")]
    columns += [Column("verdict", "verdict"), Column("p"), Column("p, adjusted"), Column("in noise")]
    columns += [Column("seeds", "words"), Column("seeds needed")]
    better = "higher" if content.metric.higher_is_better else "lower"
    caption = f"Differences in {plain(content.metric.name)} ({better} is better), {pair or 'arm minus baseline'}."
    if any(each.effect.size is not None for each in content.comparisons):
        caption += " “In noise”: the difference in standard deviations over seeds."
    return table("effects", caption, columns, rows)


def overview(content: Content) -> Table | None:
    """Means and differences in one; None where a cell is compared in more than one way, or none is."""
    by_label = {each.label: each for each in content.comparisons}
    if not by_label or len(by_label) < len(content.comparisons):
        return None
    if grid := crossed(content):
        return _overview_grid(content, by_label, *grid)
    digits = mean_digits(content)
    rows = [
        (
            *_names(content, cell),
            with_interval(cell.mean, cell.interval, digits),
            *_outcome(content, by_label.get(cell.label)),
        )
        for cell in content.cells
    ]
    columns = [*_name_columns(content), _metric_column(content), *_outcome_columns("difference", "")]
    caption = f"{begun(content.metric.name)}{_with_intervals(content)}, over {seeds_said(content)} a setting"
    return table("overview", f"{caption}, and the difference from the baseline{_adjusted(content)}.", columns, rows)


def cost(content: Content) -> Table | None:
    """What each cell costs, beside how good it is; None where nothing of it is known."""
    digits = mean_digits(content)
    facts = [
        (
            whole(cell.params),
            large(cell.macs),
            rate(cell.images_per_second),
            duration(cell.seconds),
            memory(cell.memory),
        )
        for cell in content.cells
    ]
    if all(fact == NONE for row in facts for fact in row):
        return None
    rows = [
        (*_names(content, cell), fixed(cell.mean, digits), *row) for cell, row in zip(content.cells, facts, strict=True)
    ]
    heads = ("parameters", "multiply-adds", "images/s", "time", "peak memory")
    columns = [*_name_columns(content), _metric_column(content), *map(Column, heads)]
    caption = "Cost: parameters, multiply-adds of one image; speed, time and memory of a run, means over seeds."
    return table("cost", caption, columns, rows)


def _grid(content: Content, against: Factor, along: Factor) -> tuple[list[Column], list[Row]]:
    """A row a level of `along`, a column a level of `against`; seeds where they are not as many in all cells."""
    digits, cells = mean_digits(content), _by_levels(content, against, along)
    differ = len({len(cell.values) for cell in content.cells}) > 1
    rows = []
    for x in along.levels:
        found = [cells.get((plain(of), plain(x))) for of in against.levels]
        means = [NONE if cell is None else with_interval(cell.mean, cell.interval, digits) for cell in found]
        seeds = ", ".join(str(len(cell.values)) if cell else "0" for cell in found)
        rows.append((plain(x), *means, seeds if differ else NONE))
    heads = [plain(of) + (" (baseline)" if of == against.baseline else "") for of in against.levels]
    return [Column(plain(along.key), "name"), *map(Column, heads), Column("seeds", "words")], rows


def _overview_grid(content: Content, by_label: dict[str, Comparison], against: Factor, along: Factor) -> Table | None:
    columns, rows = _grid(content, against, along)
    cells = _by_levels(content, against, along)
    arms = [of for of in against.levels if of != against.baseline]
    for of in arms:
        difference = f"{plain(of)} {MINUS} {plain(against.baseline or NONE)}"
        columns += _outcome_columns(difference, "" if len(arms) == 1 else f" ({plain(of)})")
        for place, x in enumerate(along.levels):
            cell = cells.get((plain(of), plain(x)))
            found = by_label.get(cell.label) if cell else None
            rows[place] += _outcome(content, found) if found else (NONE,) * 4
    caption = f"{begun(content.metric.name)}{_with_intervals(content)}, over {seeds_said(content)} a cell"
    return table("overview", f"{caption}{_adjusted(content)}.", columns, rows)


def _by_levels(content: Content, against: Factor, along: Factor) -> Grid:
    return {(level(content, cell, against), level(content, cell, along)): cell for cell in content.cells}


def _outcome_columns(difference: str, of: str) -> list[Column]:
    return [Column(difference), Column(f"95 % interval{of}"), Column(f"p{of}"), Column(f"verdict{of}", "verdict")]


def _outcome(content: Content, found: Comparison | None) -> Row:
    if found is None:
        return "baseline", NONE, NONE, NONE
    digits, effect = difference_digits(content), found.effect
    return (
        fixed(effect.difference, digits, signed=True),
        between(effect.interval, digits, signed=True),
        p_value(effect.p if effect.adjusted is None else effect.adjusted),
        found.verdict,
    )


def _name_columns(content: Content) -> list[Column]:
    return [Column(plain(factor.key), "name") for factor in content.factors] or [Column("setting", "name")]


def _names(content: Content, cell: Cell) -> Row:
    if not content.factors:
        return (plain(cell.label),)
    marks = [" (baseline)" if cell.is_baseline and factor.compared else "" for factor in content.factors]
    return tuple(level(content, cell, factor) + mark for factor, mark in zip(content.factors, marks, strict=True))


def _metric_column(content: Content) -> Column:
    return Column(plain(content.metric.name))


def _with_intervals(content: Content) -> str:
    return " with 95 % intervals" if any(cell.interval for cell in content.cells) else ""


def _adjusted(content: Content) -> str:
    known = any(each.effect.adjusted is not None for each in content.comparisons)
    return "; p is adjusted for the number of comparisons" if known else ""


def _where(content: Content) -> str:
    """The head of what the comparisons have around them: its key where it is one for all."""
    keys = {each.context.partition("=")[0] for each in content.comparisons}
    return plain(keys.pop()) if len(keys) == 1 and len(content.factors) == 2 else "all else"


def _only_pair(content: Content) -> str:
    """ "gn - bn" where it is all that is compared, in several contexts: a caption says it once."""
    pairs = {(each.factor, each.level, each.against) for each in content.comparisons}
    if len(pairs) != 1 or not all(each.context for each in content.comparisons):
        return ""
    ((_, level, against),) = pairs
    return f"{plain(level)} {MINUS} {plain(against)}"


def _compared(content: Content, comparison: Comparison) -> str:
    several = len({each.factor for each in content.comparisons}) > 1
    key = f"{plain(comparison.factor)}=" if several else ""
    return f"{key}{plain(comparison.level)} against {plain(comparison.against)}"


def _seeds(comparison: Comparison) -> str:
    effect = comparison.effect
    if not effect.paired:
        return f"{effect.seeds} and {effect.baseline_seeds}, unpaired"
    left = f", {len(effect.left_out)} left out" if effect.left_out else ""
    return f"{effect.seeds} paired{left}"
