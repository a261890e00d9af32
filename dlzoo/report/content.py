"""What a report says, before it is a page, a table or a picture. All text is plain: who writes a format escapes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dlzoo.comparison.finding import Finding
from dlzoo.comparison.statistics import Effect, Interval

#: An arm as one reads it: ("norm=gn", "data.batch_size=4").
Levels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """What is compared: its key in run.json ("test/accuracy"), in words ("test accuracy"), and which way is better."""

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
        params, macs: of the network, a sample; None where they were not counted.
        images_per_second, seconds, memory: means over seeds; memory is the peak in bytes.
        curves: log key ("val/accuracy", "train/loss") -> how it went.
        per_class: class -> mean of Content.class_metric over seeds; empty where there are no classes.
        bca: the BCa bootstrap interval of the mean, from 20 seeds on (with fewer it is too narrow): a check beside t.
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
    """The mean of a logged number over the seeds of a cell, and its 95 % t interval (empty lists with one seed)."""

    epochs: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class ClassDifference:
    """How much better a class is recognised than by the baseline, over paired seeds."""

    name: str
    difference: float
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """An arm against its baseline, all else equal.

    Args:
        factor: the factor that is compared ("norm"); `level` and `against` are its values ("gn", "bn").
        context: the values of the other factors ("data.batch_size=4"); empty if there is none.
        label, baseline: the labels of the two cells.
        effect: the difference of the metric, level minus against, with everything that is known of it.
        verdict: better | worse | equivalent | undecided, of `level`, with the metric's direction taken into account.
        seeds_needed: how many seeds the observed difference needs to be found; None if it cannot be said.
        per_class: by class; empty where there are no classes.
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
    """A setting that varies: its key, its values in order, whether they are numbers, and what goes along with it.

    Args:
        compared: whether its levels are held against a baseline; the others are the contexts.
        baseline: the level that the others are held against; None if it is not compared.
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
    """A run that the numbers do without: where it lies, its state (failed, running, damaged, missing ...), and why."""

    label: str
    state: str
    error: str


@dataclass(frozen=True)
class Content:
    """A whole report.

    Args:
        title: the folder's name; `question` and `expected` are the experiment's, if it was one.
        answer: the question answered in plain words, with the uncertainty; one sentence an item.
        power: what this number of seeds can and cannot show; one sentence an item.
        margin: differences within it count as none; a point for shares such as accuracies, None for other metrics,
            unless somebody gave one.
        others: other metrics of the cells: key -> cell label -> (mean, interval).
        settings: what all runs have in common and is not a default, as typed: {"model": "resnet20", ...}.
        environment: what ran it: {"torch": {"2.15.0": 80}, "device": {"CPU, 1 thread": 80}, ...}, runs by value.
        commands: shell lines that repeat the comparison and this report.
        written: when, "2026-11-22T03:02:32+00:00".
        joint: settings that several factors decide together: key -> label of a cell -> value.
        class_metric: what was measured of each class, in words.
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
