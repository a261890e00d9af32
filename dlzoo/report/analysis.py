"""From the runs of a folder to what a report says of them."""

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
from dlzoo.comparison.levels import ABSENT
from dlzoo.comparison.power import seeds_needed
from dlzoo.comparison.statistics import Interval, adjusted, effect, mean_interval, verdict
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.report import collect, words
from dlzoo.report.content import Cell, ClassDifference, Comparison, Content, Factor, Metric
from dlzoo.report.excluded import left_out, whole
from dlzoo.report.repeat import commands, environment
from dlzoo.runs import sweep_file, table
from dlzoo.runs.differences import flat, format_value
from dlzoo.runs.run_dir import now
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.runs.table import Row

#: Of shares of samples (accuracy, F1, average precision) a point more or less is taken for none, unless one says else.
_POINT, _SHARES = 0.01, ("accuracy", "f1", "map", "ap")

#: Settings that a reader looks for, whether or not they are defaults.
_RECIPE = ("optimizer.lr", "data.batch_size", "trainer.max_epochs", "trainer.select")

Runs = dict[Arm, dict[int, Row]]


def analyse(
    folder: Path,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    margin: float | None = None,
) -> Content:
    """Everything that a report of a folder says; what is not asked for is as its sweep said, or found out.

    Raises:
        UserError: if there is nothing to report on, or for a baseline or a metric that the runs do not have.
    """
    asked, options = sweep_file.read(folder), {"baseline": baseline, "metric": metric, "margin": margin}
    rows = [whole(row) for row in table.rows(table.find(folder))]
    readable = [row for row in rows if row.state != "damaged"]
    if not any(row.state == "finished" for row in readable):
        raise UserError(f"{folder}: no run is finished ({table.counts(rows)})")
    measured = _metric(readable, metric or asked.metric)
    if margin is None:
        margin = asked.margin
    if margin is None and measured.key.partition("/")[2].startswith(_SHARES):
        margin = _POINT
    made, readable = _arranged(readable, measured.key, baseline, asked)
    records = [row.record for row in readable]
    configs = [record["config"] for record in records]
    runs = _finished(made, readable, measured.key)
    cells = {arm: _cell(made, arm, of_arm, measured.key) for arm, of_arm in runs.items()}
    comparisons, states = _comparisons(made, runs, cells, measured, margin), _states(made, rows)
    content = Content(
        title=folder.resolve().name,
        folder=str(folder),
        question=asked.question,
        expected=asked.expected,
        answer=[],
        metric=measured,
        class_metric=collect.class_metric(row for of_arm in runs.values() for row in of_arm.values()),
        factors=[_factor(made, factor) for factor in made.factors],
        seeds=sorted({seed for of_arm in runs.values() for seed in of_arm}),
        cells=list(cells.values()),
        comparisons=comparisons,
        power=words.power(comparisons),
        margin=margin,
        findings=[
            *_of_progress(states),
            *words.too_few(comparisons),
            *_of_plan(asked, measured, margin),
            *_of_metric(measured, made, [row.record for of_arm in runs.values() for row in of_arm.values()]),
            *fairness.findings(configs, made, records),
            *fairness.noise_findings([(words.compared(each), each.effect, each.verdict) for each in comparisons]),
        ],
        others=collect.other_metrics(
            {made.label(arm): list(of_arm.values()) for arm, of_arm in runs.items()}, measured.key
        ),
        unfinished=left_out(folder, made, rows, readable, runs),
        states=states,
        settings={key: format_value(value) for key, value in (made.constants | _recipe(configs, made)).items()},
        environment=environment([row.record for of_arm in runs.values() for row in of_arm.values()]),
        commands=commands(folder, asked.lines, made, configs, options),
        written=now(),
        joint={
            key: {made.label(arm): format_value(value) for arm, value in of.items()} for key, of in made.joint.items()
        },
    )
    return replace(content, answer=words.answer(content))


def _arranged(rows: Sequence[Row], metric: str, baseline: str | None, asked: SweepFile) -> tuple[Design, Sequence[Row]]:
    """The design, and the runs that it is of: all, or all but the failed ones where those leave nothing to compare.

    What is still to come belongs to a comparison; a stray run that failed must not decide what varies.
    """
    made = _design([row.record["config"] for row in rows], baseline, asked)
    there = _finished(made, rows, metric)
    if any(pair.arm in there and pair.baseline in there for pair in made.pairs()):
        return made, rows
    others = [row for row in rows if row.state != "failed"]
    with suppress(UserError):  # of a baseline that only failed runs have
        alone = _design([row.record["config"] for row in others], baseline, asked)
        if alone.pairs():
            return alone, others
    return made, rows


def _design(configs: Sequence[Mapping[str, Any]], baseline: str | None, asked: SweepFile) -> Design:
    if baseline is None and asked.baseline:
        with suppress(UserError):  # of a sweep whose other arms are not here
            return design(configs, asked.baseline, asked.order)
    return design(configs, (baseline or "").split(), asked.order)


def _metric(rows: Sequence[Row], asked: str | None) -> Metric:
    """What is compared: what was asked for, or the test result of what most runs watched.

    Raises:
        UserError: for a metric that no run has.
    """
    finished = [row.record for row in rows if row.state == "finished"]
    known = dict.fromkeys(key for record in finished for key in record.get("metrics") or {})
    key = asked or f"test/{Counter(record.get('monitor') for record in finished).most_common(1)[0][0]}"
    if f"test/{key}" in known:
        key = f"test/{key}"
    if key not in known:
        raise UserError(f"no finished run has measured {key} (--metric); {did_you_mean(key, known)}")
    split, _, name = key.partition("/")
    measured = index.metrics().get(name)
    return Metric(key, f"{split} {name.replace('_', ' ')}", measured is None or measured.higher_is_better)


def _recipe(configs: Sequence[Mapping[str, Any]], made: Design) -> dict[str, Any]:
    """What one asks first of two trainings, where it is the same in all, a default or not."""
    varying = {key for factor in made.factors for key in (factor.key, *factor.follows)} | made.joint.keys()
    settings = [flat(config) for config in configs]
    return {
        key: settings[0].get(key)
        for key in _RECIPE
        if key not in varying and all(each.get(key) == settings[0].get(key) for each in settings)
    }


def _states(made: Design, rows: Sequence[Row]) -> dict[str, int]:
    """How many runs are how far; what is damaged may be what is missing."""
    found = Counter(row.word for row in rows)
    missing = len(made.missing) - found["damaged"]
    return dict(found) | ({"missing": missing} if missing > 0 else {})


def _of_progress(states: Mapping[str, int]) -> list[fairness.Finding]:
    """Runs that are to come, or gone, without a word from the numbers."""
    rest = {state: count for state, count in states.items() if state not in ("finished", "failed")}
    if not rest:
        return []
    which = ", ".join(f"{count} {state}" for state, count in rest.items())
    text = (
        f"{sum(rest.values())} of {sum(states.values())} runs are not in these numbers ({which}): they are provisional"
    )
    return [fairness.Finding("unfinished", text)]


def _of_plan(asked: SweepFile, metric: Metric, margin: float | None) -> list[fairness.Finding]:
    """What was said before the runs, and is another thing now."""
    other = []
    if asked.margin is not None and asked.margin != margin:
        other.append(f"margin {asked.margin:g}, not {margin:g}")
    if asked.metric is not None and metric.key not in (asked.metric, f"test/{asked.metric}"):
        other.append(f"{asked.metric}, not {metric.key}")
    return [fairness.Finding("plan", f"the comparison was planned with {' and '.join(other)}")] if other else []


def _of_metric(metric: Metric, made: Design, records: Sequence[Mapping[str, Any]]) -> list[fairness.Finding]:
    """Whether the numbers are of one kind, and of samples that chose nothing."""
    found, tasks = [], Counter(str(record["task"]) for record in records if record.get("task"))
    if len(tasks) > 1:
        runs = ", ".join(f"{task}: {count} runs" for task, count in tasks.items())
        text = f"the runs are of different tasks ({runs}), and their {metric.name} are different things"
        found.append(fairness.Finding("data", text))
    if metric.key.endswith("/loss") and any(factor.key.partition(".")[0] == "loss" for factor in made.factors):
        text = f"{metric.name} is measured by each run's own loss, which is what varies; compare another metric"
        found.append(fairness.Finding("data", text))
    if metric.key.startswith("test/"):
        return found
    text = f"{metric.name} is not of the test split: the weights of each run were chosen by it, or trained on it"
    return [*found, fairness.Finding("selection", text)]


def _finished(made: Design, rows: Sequence[Row], metric: str) -> Runs:
    """arm -> seed -> the run that counts: of several with the same settings the one that ended last."""
    found: Runs = {}
    for arm, seeds in made.arms.items():
        for seed, indices in seeds.items():
            there = [rows[index] for index in indices if collect.value(rows[index], metric) is not None]
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
    alpha = 0.05 / max(1, len(pairs))  # of one that is alone among them
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
    """By class, over the seeds that both arms have."""
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
