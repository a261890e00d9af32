"""Collect the results and learning curves of finished runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from dlzoo.comparison.statistics import Interval, bands, bca, mean_interval
from dlzoo.core import index
from dlzoo.report.content import Cell, Curve, Levels
from dlzoo.report.layout import space_evenly
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row

#: Points of a curve; more could not be distinguished.
_POINTS = 200

#: Fewest seeds whose curves are drawn with a band: that of three is 2.5 standard deviations to each side.
ENOUGH_FOR_BANDS = 6

#: Largest share of the machine's processors that other processes may have used in a run whose time counts.
_OTHERS = 0.05


def metric_of(row: Row, key: str) -> float | None:
    """Return a metric of a finished run; None if it is missing or not a finite number."""
    metrics = row.record.get("metrics") or {}
    return _number(metrics.get(key)) if row.state == "finished" else None


def _number(value: Any) -> float | None:
    """Return a finite int or float as a float, and None for anything else, booleans included."""
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def cell(levels: Levels, label: str, is_baseline: bool, runs: Mapping[int, Row], metric: str) -> Cell:
    """Summarise the finished runs of an arm (seed -> run), each of which has the metric."""
    values = {seed: number for seed, row in sorted(runs.items()) if (number := metric_of(row, metric)) is not None}
    rows = list(runs.values())
    alone = [row for row in rows if _had_the_machine(row.record)]
    logged = [f"val/{metric.partition('/')[2]}", f"val/{rows[0].record.get('monitor')}", "train/loss"]
    return Cell(
        levels=levels,
        label=label,
        is_baseline=is_baseline,
        values=values,
        mean=mean(values.values()),
        deviation=stdev(values.values()) if len(values) > 1 else None,
        interval=mean_interval(list(values.values())),
        params=_common_number(rows, "params"),
        macs=_common_number(rows, "macs"),
        images_per_second=_mean(alone, "images_per_second"),
        seconds=_mean(alone, "wall_seconds"),
        memory=_mean(rows, "peak_memory_bytes"),
        curves=curves([row.path for row in rows], list(dict.fromkeys(logged))),
        per_class={name: mean(each) for name, each in by_class(rows).items()},
        bca=bca(list(values.values())),
    )


def _had_the_machine(record: Mapping[str, Any]) -> bool:
    """Return whether other processes hardly used the machine during a run; not known of runs of an older dlzoo."""
    others = _number(record.get("others_busy"))
    return others is not None and others <= _OTHERS


def by_class(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Return class -> its result in each run; empty unless all runs have the same classes and measured each of them."""
    tables = [_classes(row.record) for row in rows]
    if not tables or any(table.keys() != tables[0].keys() for table in tables):
        return {}
    return {name: [table[name] for table in tables] for name in tables[0]}


def class_metric(rows: Iterable[Row]) -> str:
    """Return the name of the per-class metric."""
    measured = {key for row in rows for key in row.record.get("by_class") or {}}
    return next((metric.plain_name for name, metric in index.class_metrics().items() if name in measured), "")


def _classes(record: Mapping[str, Any]) -> dict[str, float]:
    per_class, names = record.get("by_class") or {}, record.get("classes") or []
    values = next((per_class[name] for name in index.class_metrics() if per_class.get(name)), [])
    if not isinstance(values, list) or len(values) != len(names) or len(set(map(str, names))) != len(names):
        return {}
    pairs = zip(names, values, strict=True)
    return {str(name): known for name, value in pairs if (known := _number(value)) is not None}


def other_metrics(
    cells: Mapping[str, Sequence[Row]], metric: str
) -> dict[str, dict[str, tuple[float, Interval | None]]]:
    """Return the other training and test metrics, and the number of weights that are exactly 0.

    Returns:
        key -> label of a cell -> (mean over its runs, 95 % interval).
    """
    keys = dict.fromkeys(key for rows in cells.values() for row in rows for key in row.record["metrics"])
    others = {}
    for key in sorted((key for key in keys if key != metric and not key.startswith("val/")), reverse=True):
        numbers = {
            label: [number for row in rows if (number := metric_of(row, key)) is not None]
            for label, rows in cells.items()
        }
        others[key] = {label: (mean(each), mean_interval(each)) for label, each in numbers.items() if each}
    zeros = {label: _numbers(rows, "zero_weights") for label, rows in cells.items()}
    if any(map(any, zeros.values())):
        others["zero_weights"] = {label: (mean(each), mean_interval(each)) for label, each in zeros.items() if each}
    return others


def curves(runs: Sequence[Path], keys: Sequence[str]) -> dict[str, Curve]:
    """Return the means of logged numbers over runs, by epoch, with their 95 % intervals."""
    logs = [_logged_numbers(path, keys) for path in runs]
    by_key = {}
    for key in keys:
        tables = [log[key] for log in logs if log[key]]
        if not tables:
            continue
        epochs = space_evenly(sorted(set().union(*tables)), _POINTS)
        values = np.array([[table.get(epoch, math.nan) for epoch in epochs] for table in tables])
        known = np.logical_not(np.isnan(values).all(axis=0))
        middle, low, high = (line[known].tolist() for line in bands(values))
        has_bands = not all(map(math.isnan, low))
        kept = [epoch for epoch, there in zip(epochs, known.tolist(), strict=True) if there]
        single = values[:, known].tolist() if 1 < len(tables) < ENOUGH_FOR_BANDS else []
        by_key[key] = Curve(kept, middle, low if has_bands else [], high if has_bands else [], single)
    return by_key


def _logged_numbers(run: Path, keys: Sequence[str]) -> dict[str, dict[float, float]]:
    """Return key -> epoch -> the last number that was logged at that epoch."""
    numbers: dict[str, dict[float, float]] = {key: {} for key in keys}
    try:
        records = read_metrics(RunDir(run).metrics_file)
    except OSError:
        return numbers
    for record in records:
        epoch = _number(record.get("epoch"))
        for key in keys:
            number = _number(record.get(key))
            if number is not None and epoch is not None:
                numbers[key][epoch] = number
    return numbers


def _numbers(rows: Sequence[Row], key: str) -> list[float]:
    return [number for row in rows if (number := _number(row.record.get(key))) is not None]


def _mean(rows: Sequence[Row], key: str) -> float | None:
    numbers = _numbers(rows, key)
    return mean(numbers) if numbers else None


def _common_number(rows: Sequence[Row], key: str) -> int | None:
    """Return a number if all runs of a cell have the same, else None."""
    numbers = set(_numbers(rows, key))
    return int(numbers.pop()) if len(numbers) == 1 else None
