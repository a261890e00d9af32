"""Analyse the runs of a folder for a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlzoo.comparison import fairness
from dlzoo.comparison.chance import learned_nothing
from dlzoo.comparison.design import Arm, Design, Pair
from dlzoo.comparison.design import Factor as Varying
from dlzoo.comparison.factors import make_design
from dlzoo.comparison.finding import Finding
from dlzoo.comparison.levels import ABSENT
from dlzoo.comparison.power import seeds_needed
from dlzoo.comparison.statistics import Interval, adjust_p, effect, mean_interval, verdict
from dlzoo.core.errors import UserError
from dlzoo.report import collect, findings, power, words
from dlzoo.report.content import Cell, ClassDifference, Comparison, Content, Factor, Metric
from dlzoo.report.excluded import excluded_runs, validate
from dlzoo.report.metric import compared_metric, margin_of
from dlzoo.report.repeat import commands, environment
from dlzoo.runs import sweep_file, table
from dlzoo.runs.differences import flatten, format_value
from dlzoo.runs.run_dir import now
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.runs.table import Row

#: Settings that a report lists even where they have their default values.
_MAIN_SETTINGS = ("optimizer.lr", "data.batch_size", "trainer.max_epochs", "trainer.select")

Runs = dict[Arm, dict[int, Row]]


def analyse(
    folder: Path, *, baseline: str | None = None, metric: str | None = None, margin: float | None = None
) -> Content:
    """Analyse the runs of a folder. Options that are None are taken from its sweep file, or detected.

    Raises:
        UserError: if there is nothing to report on, or for a baseline or a metric that the runs do not have.
    """
    planned, options = sweep_file.read(folder), {"baseline": baseline, "metric": metric, "margin": margin}
    rows, readable = _read(folder)
    compared = compared_metric(readable, metric or planned.metric)
    margin = margin_of(margin, planned, compared)
    design, readable = _design_of_runs(readable, compared.key, baseline, planned)
    runs = _finished_runs(design, readable, compared.key)
    included = [row for of_arm in runs.values() for row in of_arm.values()]
    cells = {arm: _cell(design, arm, of_arm, compared.key) for arm, of_arm in runs.items()}
    comparisons = _comparisons(design, runs, cells, compared, margin)
    content = Content(
        title=folder.resolve().name,
        folder=str(folder),
        question=planned.question,
        expected=planned.expected,
        answer=[],
        metric=compared,
        class_metric=collect.class_metric(included),
        factors=[_factor(design, factor) for factor in design.factors],
        seeds=sorted({seed for of_arm in runs.values() for seed in of_arm}),
        cells=list(cells.values()),
        comparisons=comparisons,
        power=power.power(comparisons),
        margin=margin,
        findings=[],
        others=collect.other_metrics(_group_by_label(design, runs), compared.key),
        unfinished=excluded_runs(folder, design, rows, readable, runs),
        states=_states(design, rows),
        settings=_format_values(design.constants | _main_settings([row.record["config"] for row in readable], design)),
        environment=environment([row.record for row in included]),
        commands=commands(folder, planned.lines, design, [row.record["config"] for row in readable], options),
        written=now(),
        joint={key: _format_values(_by_label(design, values)) for key, values in design.joint.items()},
    )
    checks = _findings(content, design, planned, readable, included)
    grouped = _group_by_label(design, runs)
    nothing = learned_nothing({label: [row.record for row in of_arm] for label, of_arm in grouped.items()})
    return replace(content, answer=[*nothing, *words.answer(content)], findings=checks)


def _by_label(design: Design, values: Mapping[Arm, Any]) -> dict[str, Any]:
    return {design.label(arm): value for arm, value in values.items()}


def _format_values(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: format_value(value) for key, value in values.items()}


def _read(folder: Path) -> tuple[list[Row], list[Row]]:
    """Return (all runs, those that are not damaged).

    Raises:
        UserError: if no run is finished.
    """
    rows = [validate(row) for row in table.rows(table.find(folder))]
    readable = [row for row in rows if row.state != "damaged"]
    if not any(row.state == "finished" for row in readable):
        raise UserError(f"{folder}: no run is finished ({table.count_states(rows)})")
    return rows, readable


def _findings(
    content: Content, design: Design, planned: SweepFile, readable: Sequence[Row], included: Sequence[Row]
) -> list[Finding]:
    records, comparisons = [row.record for row in readable], content.comparisons
    return [
        *findings.of_progress(content.states),
        *power.too_few(comparisons),
        *findings.of_plan(planned, content.metric, content.margin),
        *findings.of_metric(content.metric, design, [row.record for row in included]),
        *fairness.findings([record["config"] for record in records], design, records),
        *fairness.noise_findings(
            [(words.describe_comparison(each), each.effect, each.verdict) for each in comparisons]
        ),
    ]


def _group_by_label(design: Design, runs: Runs) -> dict[str, list[Row]]:
    return {design.label(arm): list(of_arm.values()) for arm, of_arm in runs.items()}


def _design_of_runs(
    rows: Sequence[Row], metric: str, baseline: str | None, planned: SweepFile
) -> tuple[Design, Sequence[Row]]:
    """Return the design and its runs: all runs, or all but the failed ones where these leave nothing to compare.

    Runs that are still to come belong to the comparison; a stray failed run must not decide what varies.
    """
    design = _design([row.record["config"] for row in rows], baseline, planned)
    there = _finished_runs(design, rows, metric)
    if any(pair.arm in there and pair.baseline in there for pair in design.pairs()):
        return design, rows
    others = [row for row in rows if row.state != "failed"]
    with suppress(UserError):  # only failed runs have the baseline
        reduced = _design([row.record["config"] for row in others], baseline, planned)
        if reduced.pairs():
            return reduced, others
    return design, rows


def _design(configs: Sequence[Mapping[str, Any]], baseline: str | None, planned: SweepFile) -> Design:
    if baseline is None and planned.baseline:
        with suppress(UserError):  # the sweep's other arms are not in this folder
            return make_design(configs, planned.baseline, planned.order)
    return make_design(configs, (baseline or "").split(), planned.order)


def _main_settings(configs: Sequence[Mapping[str, Any]], design: Design) -> dict[str, Any]:
    """Return the main settings of a training where they are the same in all runs, even if they are defaults."""
    varying = {key for factor in design.factors for key in (factor.key, *factor.follows)} | design.joint.keys()
    settings = [flatten(config) for config in configs]
    return {
        key: settings[0].get(key)
        for key in _MAIN_SETTINGS
        if key not in varying and all(each.get(key) == settings[0].get(key) for each in settings)
    }


def _states(design: Design, rows: Sequence[Row]) -> dict[str, int]:
    """Count the runs by state. A damaged run may be one of those that seem to be missing."""
    counts = Counter(row.word for row in rows)
    missing = len(design.missing) - counts["damaged"]
    return dict(counts) | ({"missing": missing} if missing > 0 else {})


def _finished_runs(design: Design, rows: Sequence[Row], metric: str) -> Runs:
    """Return arm -> seed -> run. Of several runs with the same settings the one that ended last counts."""
    runs: Runs = {}
    for arm, seeds in design.arms.items():
        for seed, indices in seeds.items():
            there = [rows[index] for index in indices if collect.metric_of(rows[index], metric) is not None]
            if there:
                latest = max(there, key=lambda row: row.record.get("finished") or "")
                runs.setdefault(arm, {})[seed] = latest
    return runs


def _cell(design: Design, arm: Arm, runs: Mapping[int, Row], metric: str) -> Cell:
    levels = tuple(f"{factor.key}={format_value(level)}" for factor, level in zip(design.factors, arm, strict=True))
    level_of = dict(zip((factor.key for factor in design.factors), arm, strict=True))
    is_baseline = bool(design.compared) and all(
        level_of[key] in (design.baseline[key], ABSENT) for key in design.compared
    )
    return collect.cell(levels, design.label(arm), is_baseline, runs, metric)


def _comparisons(
    design: Design, runs: Runs, cells: Mapping[Arm, Cell], metric: Metric, margin: float | None
) -> list[Comparison]:
    pairs = [pair for pair in design.pairs() if pair.arm in cells and pair.baseline in cells]
    effects = adjust_p([effect(cells[pair.arm].values, cells[pair.baseline].values) for pair in pairs])
    verdicts = [verdict(estimate, margin, metric.higher_is_better) for estimate in effects]
    alpha = 0.05 / max(1, len(pairs))  # that Benjamini and Hochberg's procedure demands of a single finding
    return [
        Comparison(
            factor=pair.factor.key,
            level=format_value(pair.level),
            against=format_value(pair.against),
            context=" ".join(f"{key}={format_value(value)}" for key, value in pair.context),
            label=cells[pair.arm].label,
            baseline=cells[pair.baseline].label,
            effect=estimate,
            verdict=verdicts[place],
            seeds_needed=seeds_needed(estimate, alpha) if verdicts[place] == "undecided" else None,
            per_class=_class_differences(runs, pair) if estimate.paired else [],
        )
        for place, (pair, estimate) in enumerate(zip(pairs, effects, strict=True))
    ]


def _class_differences(runs: Runs, pair: Pair) -> list[ClassDifference]:
    """Return the difference of each class, over the seeds that both arms have."""
    seeds = sorted(runs[pair.arm].keys() & runs[pair.baseline].keys())
    ours = collect.by_class([runs[pair.arm][seed] for seed in seeds])
    theirs = collect.by_class([runs[pair.baseline][seed] for seed in seeds])
    results = []
    for name in ours.keys() & theirs.keys():
        differences = [one - other for one, other in zip(ours[name], theirs[name], strict=True)]
        interval = mean_interval(differences)
        within = None if interval is None else Interval(max(-1.0, interval.low), min(1.0, interval.high))
        results.append(ClassDifference(name, sum(differences) / len(differences), within))
    order = list(ours)
    return sorted(results, key=lambda each: order.index(each.name))


def _factor(design: Design, factor: Varying) -> Factor:
    follows = {
        key: {format_value(level): format_value(value) for level, value in values.items()}
        for key, values in factor.follows.items()
    }
    compared = factor.key in design.compared
    return Factor(
        key=factor.key,
        levels=tuple(map(format_value, factor.levels)),
        numeric=factor.numeric,
        compared=compared,
        baseline=format_value(design.baseline[factor.key]) if compared else None,
        follows=follows,
    )
