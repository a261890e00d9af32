"""Analyse the runs of a folder for a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlzoo.comparison import fairness
from dlzoo.comparison.design import Arm, Design, Pair
from dlzoo.comparison.design import Factor as Varying
from dlzoo.comparison.factors import design
from dlzoo.comparison.finding import Finding
from dlzoo.comparison.levels import ABSENT
from dlzoo.comparison.power import seeds_needed
from dlzoo.comparison.statistics import Interval, adjusted, effect, mean_interval, verdict
from dlzoo.core.errors import UserError
from dlzoo.report import collect, findings, power, words
from dlzoo.report.content import Cell, ClassDifference, Comparison, Content, Factor, Metric
from dlzoo.report.excluded import excluded_runs, validated
from dlzoo.report.metric import compared_metric, margin_of
from dlzoo.report.repeat import commands, environment
from dlzoo.runs import sweep_file, table
from dlzoo.runs.differences import flat, format_value
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
    made, readable = _design_of_runs(readable, compared.key, baseline, planned)
    runs = _finished(made, readable, compared.key)
    included = [row for of_arm in runs.values() for row in of_arm.values()]
    cells = {arm: _cell(made, arm, of_arm, compared.key) for arm, of_arm in runs.items()}
    comparisons = _comparisons(made, runs, cells, compared, margin)
    content = Content(
        title=folder.resolve().name,
        folder=str(folder),
        question=planned.question,
        expected=planned.expected,
        answer=[],
        metric=compared,
        class_metric=collect.class_metric(included),
        factors=[_factor(made, factor) for factor in made.factors],
        seeds=sorted({seed for of_arm in runs.values() for seed in of_arm}),
        cells=list(cells.values()),
        comparisons=comparisons,
        power=power.power(comparisons),
        margin=margin,
        findings=[],
        others=collect.other_metrics(_by_label(made, runs), compared.key),
        unfinished=excluded_runs(folder, made, rows, readable, runs),
        states=_states(made, rows),
        settings=_formatted(made.constants | _main_settings([row.record["config"] for row in readable], made)),
        environment=environment([row.record for row in included]),
        commands=commands(folder, planned.lines, made, [row.record["config"] for row in readable], options),
        written=now(),
        joint={key: _formatted({made.label(arm): of[arm] for arm in of}) for key, of in made.joint.items()},
    )
    checks = _findings(content, made, planned, readable, included)
    return replace(content, answer=words.answer(content), findings=checks)


def _formatted(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: format_value(value) for key, value in values.items()}


def _read(folder: Path) -> tuple[list[Row], list[Row]]:
    """Return (all runs, those that are not damaged).

    Raises:
        UserError: if no run is finished.
    """
    rows = [validated(row) for row in table.rows(table.find(folder))]
    readable = [row for row in rows if row.state != "damaged"]
    if not any(row.state == "finished" for row in readable):
        raise UserError(f"{folder}: no run is finished ({table.counts(rows)})")
    return rows, readable


def _findings(
    content: Content, made: Design, planned: SweepFile, readable: Sequence[Row], included: Sequence[Row]
) -> list[Finding]:
    records, comparisons = [row.record for row in readable], content.comparisons
    return [
        *findings.of_progress(content.states),
        *power.too_few(comparisons),
        *findings.of_plan(planned, content.metric, content.margin),
        *findings.of_metric(content.metric, made, [row.record for row in included]),
        *fairness.findings([record["config"] for record in records], made, records),
        *fairness.noise_findings([(words.compared(each), each.effect, each.verdict) for each in comparisons]),
    ]


def _by_label(made: Design, runs: Runs) -> dict[str, list[Row]]:
    return {made.label(arm): list(of_arm.values()) for arm, of_arm in runs.items()}


def _design_of_runs(
    rows: Sequence[Row], metric: str, baseline: str | None, planned: SweepFile
) -> tuple[Design, Sequence[Row]]:
    """Return the design and its runs: all runs, or all but the failed ones where these leave nothing to compare.

    Runs that are still to come belong to the comparison; a stray failed run must not decide what varies.
    """
    made = _design([row.record["config"] for row in rows], baseline, planned)
    there = _finished(made, rows, metric)
    if any(pair.arm in there and pair.baseline in there for pair in made.pairs()):
        return made, rows
    others = [row for row in rows if row.state != "failed"]
    with suppress(UserError):  # only failed runs have the baseline
        reduced = _design([row.record["config"] for row in others], baseline, planned)
        if reduced.pairs():
            return reduced, others
    return made, rows


def _design(configs: Sequence[Mapping[str, Any]], baseline: str | None, planned: SweepFile) -> Design:
    if baseline is None and planned.baseline:
        with suppress(UserError):  # the sweep's other arms are not in this folder
            return design(configs, planned.baseline, planned.order)
    return design(configs, (baseline or "").split(), planned.order)


def _main_settings(configs: Sequence[Mapping[str, Any]], made: Design) -> dict[str, Any]:
    """Return the main settings of a training where they are the same in all runs, even if they are defaults."""
    varying = {key for factor in made.factors for key in (factor.key, *factor.follows)} | made.joint.keys()
    settings = [flat(config) for config in configs]
    return {
        key: settings[0].get(key)
        for key in _MAIN_SETTINGS
        if key not in varying and all(each.get(key) == settings[0].get(key) for each in settings)
    }


def _states(made: Design, rows: Sequence[Row]) -> dict[str, int]:
    """Count the runs by state. A damaged run may be one of those that seem to be missing."""
    found = Counter(row.word for row in rows)
    missing = len(made.missing) - found["damaged"]
    return dict(found) | ({"missing": missing} if missing > 0 else {})


def _finished(made: Design, rows: Sequence[Row], metric: str) -> Runs:
    """Return arm -> seed -> run. Of several runs with the same settings the one that ended last counts."""
    found: Runs = {}
    for arm, seeds in made.arms.items():
        for seed, indices in seeds.items():
            there = [rows[index] for index in indices if collect.metric_of(rows[index], metric) is not None]
            if there:
                latest = max(there, key=lambda row: row.record.get("finished") or "")
                found.setdefault(arm, {})[seed] = latest
    return found


def _cell(made: Design, arm: Arm, runs: Mapping[int, Row], metric: str) -> Cell:
    levels = tuple(f"{factor.key}={format_value(level)}" for factor, level in zip(made.factors, arm, strict=True))
    of = dict(zip((factor.key for factor in made.factors), arm, strict=True))
    is_baseline = bool(made.compared) and all(of[key] in (made.baseline[key], ABSENT) for key in made.compared)
    return collect.cell(levels, made.label(arm), is_baseline, runs, metric)


def _comparisons(
    made: Design, runs: Runs, cells: Mapping[Arm, Cell], metric: Metric, margin: float | None
) -> list[Comparison]:
    pairs = [pair for pair in made.pairs() if pair.arm in cells and pair.baseline in cells]
    effects = adjusted([effect(cells[pair.arm].values, cells[pair.baseline].values) for pair in pairs])
    verdicts = [verdict(found, margin, metric.higher_is_better) for found in effects]
    alpha = 0.05 / max(1, len(pairs))  # that Benjamini and Hochberg's procedure demands of a single finding
    return [
        Comparison(
            factor=pair.factor.key,
            level=format_value(pair.level),
            against=format_value(pair.against),
            context=" ".join(f"{key}={format_value(value)}" for key, value in pair.context),
            label=cells[pair.arm].label,
            baseline=cells[pair.baseline].label,
            effect=found,
            verdict=verdicts[place],
            seeds_needed=seeds_needed(found, alpha) if verdicts[place] == "undecided" else None,
            per_class=_class_differences(runs, pair) if found.paired else [],
        )
        for place, (pair, found) in enumerate(zip(pairs, effects, strict=True))
    ]


def _class_differences(runs: Runs, pair: Pair) -> list[ClassDifference]:
    """Return the difference of each class, over the seeds that both arms have."""
    seeds = sorted(runs[pair.arm].keys() & runs[pair.baseline].keys())
    ours = collect.by_class([runs[pair.arm][seed] for seed in seeds])
    theirs = collect.by_class([runs[pair.baseline][seed] for seed in seeds])
    found = []
    for name in ours.keys() & theirs.keys():
        differences = [one - other for one, other in zip(ours[name], theirs[name], strict=True)]
        interval = mean_interval(differences)
        within = None if interval is None else Interval(max(-1.0, interval.low), min(1.0, interval.high))
        found.append(ClassDifference(name, sum(differences) / len(differences), within))
    order = list(ours)
    return sorted(found, key=lambda each: order.index(each.name))


def _factor(made: Design, factor: Varying) -> Factor:
    follows = {
        key: {format_value(level): format_value(value) for level, value in values.items()}
        for key, values in factor.follows.items()
    }
    compared = factor.key in made.compared
    return Factor(
        key=factor.key,
        levels=tuple(map(format_value, factor.levels)),
        numeric=factor.numeric,
        compared=compared,
        baseline=format_value(made.baseline[factor.key]) if compared else None,
        follows=follows,
    )
