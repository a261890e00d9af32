"""Define the content of a report, independent of its format. All text is plain: each writer escapes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlzoo.comparison.finding import Finding
from dlzoo.comparison.statistics import Effect, Interval

#: The settings of an arm: ("norm=gn", "data.batch_size=4").
Levels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """The compared metric: its key in run.json ("test/accuracy"), its name ("test accuracy") and its direction."""

    key: str
    name: str
    higher_is_better: bool


@dataclass(frozen=True)
class Cell:
    """All finished runs that differ in their seed only.

    Args:
        levels: a value of each factor, in the order of `Content.factors`.
        values: seed -> the metric.
        mean: over seeds; `interval` is the 95 % t interval (None with one seed), `deviation` the standard deviation.
        params, macs: of the network, for one sample; None where they were not counted.
        images_per_second, seconds: means over the runs that had the machine to themselves; None if there are none.
        memory: mean of the peak in bytes.
        curves: log key ("val/accuracy", "train/loss") -> its learning curve.
        per_class: class -> mean of Content.class_metric over seeds; empty where there are no classes.
        bca: the BCa bootstrap interval of the mean, from 20 seeds on (it is too narrow with fewer), as a check.
    """

    levels: Levels
    label: str
    is_baseline: bool
    values: dict[int, float]
    mean: float
    deviation: float | None
    interval: Interval | None
    params: int | None
    macs: int | None
    images_per_second: float | None
    seconds: float | None
    memory: float | None
    curves: dict[str, Curve]
    per_class: dict[str, float]
    bca: Interval | None = None


@dataclass(frozen=True)
class Curve:
    """The mean of a logged number over the seeds of a cell, and its 95 % t interval (empty lists with one seed).

    `seeds` are the lines of the single seeds where these are few, as their intervals are wide; empty otherwise.
    """

    epochs: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class ClassDifference:
    """The difference of a class from the baseline, over paired seeds."""

    name: str
    difference: float
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """The comparison of an arm with its baseline, other settings being equal.

    Args:
        factor: the factor that is compared ("norm"); `level` and `against` are its values ("gn", "bn").
        context: the values of the other factors ("data.batch_size=4"); empty if there is none.
        label, baseline: the labels of the two cells.
        effect: the difference of the metric, level minus against, with its interval and test.
        verdict: better | worse | equivalent | undecided, of `level`, with the metric's direction taken into account.
        seeds_needed: the number of seeds needed to detect the observed difference; None if it is unknown.
        per_class: the difference of each class; empty where there are no classes.
    """

    factor: str
    level: str
    against: str
    context: str
    label: str
    baseline: str
    effect: Effect
    verdict: str
    seeds_needed: int | None
    per_class: list[ClassDifference]


@dataclass(frozen=True)
class Factor:
    """A setting that varies: its key, its values in order, whether they are numbers, and the settings that follow it.

    Args:
        compared: whether its levels are compared with a baseline; the other factors are the contexts.
        baseline: the level that the others are compared with; None if the factor is not compared.
        follows: settings that change with it and with nothing else: {"model.width": {"resnet20": "16", ...}}.
    """

    key: str
    levels: tuple[str, ...]
    numeric: bool
    compared: bool
    baseline: str | None
    follows: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Unfinished:
    """A run that is excluded from the numbers: label, state (failed, running, damaged, missing ...) and reason."""

    label: str
    state: str
    error: str


@dataclass(frozen=True)
class Content:
    """The content of a report.

    Args:
        title: the folder's name; `question` and `expected` are those of the experiment, if there is one.
        answer: the result in words, with its uncertainty; one sentence an item.
        power: the statistical power of this number of seeds; one sentence an item.
        margin: differences up to this are treated as equal; by default 0.01 for fractions such as accuracies, and None
            for other metrics.
        others: other metrics of the cells: key -> cell label -> (mean, interval).
        settings: settings that all runs share and that are not defaults, as typed: {"model": "resnet20", ...}.
        environment: the number of runs by version and hardware: {"torch": {"2.15.0": 80}, ...}.
        commands: shell lines that repeat the comparison and this report.
        written: the time, "2026-11-22T03:02:32+00:00".
        joint: settings that depend on several factors together: key -> label of a cell -> value.
        class_metric: the name of the per-class metric.
    """

    title: str
    folder: str
    question: str | None
    expected: str | None
    answer: list[str]
    metric: Metric
    factors: list[Factor]
    seeds: list[int]
    cells: list[Cell]
    comparisons: list[Comparison]
    power: list[str]
    margin: float | None
    findings: list[Finding]
    others: dict[str, dict[str, tuple[float, Interval | None]]]
    unfinished: list[Unfinished]
    states: dict[str, int]
    settings: dict[str, str]
    environment: dict[str, dict[str, int]]
    commands: list[str]
    written: str
    joint: dict[str, dict[str, str]] = field(default_factory=dict)
    class_metric: str = "recall"
