"""Check the numbers of a report: unfinished runs, changes of plan, and unsuitable metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dlzoo.comparison.design import Design
from dlzoo.comparison.finding import Finding
from dlzoo.report.content import Metric
from dlzoo.runs.sweep_file import SweepFile


def of_progress(states: Mapping[str, int]) -> list[Finding]:
    """Report runs that are neither finished nor failed, which the numbers leave out."""
    rest = {state: count for state, count in states.items() if state not in ("finished", "failed")}
    if not rest:
        return []
    which = ", ".join(f"{count} {state}" for state, count in rest.items())
    total = sum(states.values())
    text = f"the numbers are provisional: {sum(rest.values())} of {total} runs are not included ({which})"
    return [Finding("unfinished", text)]


def of_plan(planned: SweepFile, metric: Metric, margin: float | None) -> list[Finding]:
    """Report a margin or metric that differs from the one planned before the runs."""
    other = []
    if planned.margin is not None and planned.margin != margin:
        other.append(f"margin {planned.margin:g}, not {margin:g}")
    if planned.metric is not None and metric.key not in (planned.metric, f"test/{planned.metric}"):
        other.append(f"{planned.metric}, not {metric.key}")
    return [Finding("plan", f"the comparison was planned with {' and '.join(other)}")] if other else []


def of_metric(metric: Metric, design: Design, records: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Report a metric that is not the same quantity in all runs, or is not measured on the test split."""
    findings, tasks = [], Counter(str(record["task"]) for record in records if record.get("task"))
    if len(tasks) > 1:
        runs = ", ".join(f"{task}: {count} runs" for task, count in tasks.items())
        text = f"the runs are of different tasks ({runs}), so their {metric.name} values are not comparable"
        findings.append(Finding("data", text))
    if metric.key.endswith("/loss") and any(factor.key.partition(".")[0] == "loss" for factor in design.factors):
        text = f"{metric.name} is computed with each run's own loss, which differs between runs; compare another metric"
        findings.append(Finding("data", text))
    if metric.key.startswith("test/"):
        return findings
    text = (
        f"{metric.name} is not measured on the test split: the weights of each run were selected by it or trained on it"
    )
    return [*findings, Finding("selection", text)]
