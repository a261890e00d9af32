"""From run directories to numbers: what the finished runs measured, and how their curves went."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from dlzoo.comparison.statistics import Interval, bands, bca, mean_interval
from dlzoo.report.content import Cell, Curve, Levels
from dlzoo.report.layout import evenly
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row

#: What run.json may have of each class, in words; the first that is there is shown.
_OF_CLASSES = {"recall": "recall", "ap50_voc10": "average precision"}

#: Points of a curve; more cannot be told apart.
_POINTS = 200


def value(row: Row, key: str) -> float | None:
    """A metric of a finished run; None where there is none, or it is no number."""
    found = row.record.get("metrics") or {}
    return _number(found.get(key)) if row.state == "finished" else None


def _number(value: Any) -> float | None:
    """A finite number as such, and nothing else; true is none."""
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def cell(levels: Levels, label: str, is_baseline: bool, runs: Mapping[int, Row], metric: str) -> Cell:
    """An arm: seed -> its finished run, each of which has the metric."""
    values = {seed: number for seed, row in sorted(runs.items()) if (number := value(row, metric)) is not None}
    rows = list(runs.values())
    logged = [f"val/{metric.partition('/')[2]}", f"val/{rows[0].record.get('monitor')}", "train/loss"]
    return Cell(
        levels=levels,
        label=label,
        is_baseline=is_baseline,
        values=values,
        mean=mean(values.values()),
        deviation=stdev(values.values()) if len(values) > 1 else None,
        interval=mean_interval(list(values.values())),
        params=_same(rows, "params"),
        macs=_same(rows, "macs"),
        images_per_second=_mean(rows, "images_per_second"),
        seconds=_mean(rows, "wall_seconds"),
        memory=_mean(rows, "peak_memory_bytes"),
        curves=curves([row.path for row in rows], list(dict.fromkeys(logged))),
        per_class={name: mean(each) for name, each in by_class(rows).items()},
        bca=bca(list(values.values())),
    )


def by_class(rows: Sequence[Row]) -> dict[str, list[float]]:
    """class -> its number in each of the runs; nothing unless all of them have the same classes and measured each."""
    tables = [_classes(row.record) for row in rows]
    if not tables or any(table.keys() != tables[0].keys() for table in tables):
        return {}
    return {name: [table[name] for table in tables] for name in tables[0]}


def class_metric(rows: Iterable[Row]) -> str:
    """What was measured of each class, in words."""
    measured = {key for row in rows for key in row.record.get("by_class") or {}}
    return next((words for key, words in _OF_CLASSES.items() if key in measured), "recall")


def _classes(record: Mapping[str, Any]) -> dict[str, float]:
    found, names = record.get("by_class") or {}, record.get("classes") or []
    values = next((found[key] for key in _OF_CLASSES if found.get(key)), [])
    if not isinstance(values, list) or len(values) != len(names) or len(set(map(str, names))) != len(names):
        return {}
    pairs = zip(names, values, strict=True)
    return {str(name): known for name, value in pairs if (known := _number(value)) is not None}


def other_metrics(
    cells: Mapping[str, Sequence[Row]], metric: str
) -> dict[str, dict[str, tuple[float, Interval | None]]]:
    """The other metrics of training and test, and weights that are exactly 0.

    Returns:
        key -> label of a cell -> (mean over its runs, 95 % interval).
    """
    keys = dict.fromkeys(key for rows in cells.values() for row in rows for key in row.record["metrics"])
    found = {}
    for key in sorted((key for key in keys if key != metric and not key.startswith("val/")), reverse=True):
        numbers = {
            label: [number for row in rows if (number := value(row, key)) is not None] for label, rows in cells.items()
        }
        found[key] = {label: (mean(each), mean_interval(each)) for label, each in numbers.items() if each}
    zeros = {label: _numbers(rows, "zero_weights") for label, rows in cells.items()}
    if any(map(any, zeros.values())):
        found["zero_weights"] = {label: (mean(each), mean_interval(each)) for label, each in zeros.items() if each}
    return found


def curves(runs: Sequence[Path], keys: Sequence[str]) -> dict[str, Curve]:
    """The mean of logged numbers over runs, by epoch, with their 95 % intervals."""
    logs = [_logged(path, keys) for path in runs]
    found = {}
    for key in keys:
        tables = [log[key] for log in logs if log[key]]
        if not tables:
            continue
        epochs = evenly(sorted(set().union(*tables)), _POINTS)
        values = np.array([[table.get(epoch, math.nan) for epoch in epochs] for table in tables])
        known = np.logical_not(np.isnan(values).all(axis=0))
        middle, low, high = (line[known].tolist() for line in bands(values))
        several = not all(map(math.isnan, low))
        kept = [epoch for epoch, there in zip(epochs, known.tolist(), strict=True) if there]
        found[key] = Curve(kept, middle, low if several else [], high if several else [])
    return found


def _logged(run: Path, keys: Sequence[str]) -> dict[str, dict[float, float]]:
    """key -> epoch -> what was logged last then."""
    found: dict[str, dict[float, float]] = {key: {} for key in keys}
    try:
        records = read_metrics(RunDir(run).metrics_file)
    except OSError:
        return found
    for record in records:
        epoch = _number(record.get("epoch"))
        for key in keys:
            number = _number(record.get(key))
            if number is not None and epoch is not None:
                found[key][epoch] = number
    return found


def _numbers(rows: Sequence[Row], key: str) -> list[float]:
    return [number for row in rows if (number := _number(row.record.get(key))) is not None]


def _mean(rows: Sequence[Row], key: str) -> float | None:
    numbers = _numbers(rows, key)
    return mean(numbers) if numbers else None


def _same(rows: Sequence[Row], key: str) -> int | None:
    """A number that all runs of a cell have in common."""
    numbers = set(_numbers(rows, key))
    return int(numbers.pop()) if len(numbers) == 1 else None
