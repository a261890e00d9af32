"""Measure the time and memory of a report, for scripts/bench.py."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

from dlzoo.config import compose

NORMS = ("bn", "gn", "ln", "in", "none")
BATCHES = (2, 4, 8, 16, 32)
CLASSES = [f"class {number}" for number in range(10)]


def report_costs(repeats: int, quick: bool) -> list[tuple[str, str]]:
    """Measure `dlzoo report`, imports included: 5 norms, 5 batch sizes, 40 seeds, 200 epochs each."""
    seeds, epochs = (8, 20) if quick else (40, 200)
    with tempfile.TemporaryDirectory() as folder:
        many_runs(Path(folder), seeds, epochs)
        took = []
        for _ in range(repeats):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "dlzoo.cli", "report", folder], check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    runs = seeds * len(NORMS) * len(BATCHES)
    return [
        (f"dlzoo report over {runs:,} runs of {epochs} epochs", f"{statistics.median(took):.1f} s"),
        ("its peak memory", f"{memory:.2f} GiB"),
    ]


def many_runs(folder: Path, seeds: int, epochs: int) -> None:
    """Write the finished runs of a grid, with random accuracies."""
    draw = Random(0)
    for norm in NORMS:
        for batch in BATCHES:
            config = compose([f"norm={norm}", f"data.batch_size={batch}", f"trainer.max_epochs={epochs}"])
            for seed in range(seeds):
                path = folder / f"norm={norm},data.batch_size={batch},seed={seed}"
                write_run(path, deepcopy(config) | {"seed": seed}, draw.gauss(0.5, 0.02), epochs)


def write_run(path: Path, config: dict[str, Any], accuracy: float, epochs: int) -> None:
    """Write run.json and a log with the training loss twice per epoch."""
    path.mkdir()
    (path / "config.yaml").touch()
    facts: Mapping[str, Any] = {
        "state": "finished",
        "config": config,
        "error": None,
        "monitor": "accuracy",
        "metrics": {"test/loss": 1 - accuracy, "test/accuracy": accuracy},
        "classes": CLASSES,
        "by_class": {"recall": [accuracy] * len(CLASSES)},
        "data_sizes": {"train": 45000, "val": 5000, "test": 10000},
        "data_fingerprint": "0",
        "params": 269_722,
        "macs": 40_551_040,
        "images_per_second": 500.0,
        "wall_seconds": 60.0,
        "peak_memory_bytes": 10**9,
        "steps_per_epoch": 100,
        "versions": {"torch": "2.15.0"},
        "device": "CPU, 1 thread",
        "finished": "2026-11-22T00:00:00+00:00",
    }
    (path / "run.json").write_text(json.dumps(facts))
    lines = []
    for half in range(1, 2 * epochs + 1):
        done = {"step": half * 50, "epoch": half / 2, "time": 1.7e9 + half}
        lines.append(done | {"train/loss": 1 / half, "train/accuracy": 0.5, "lr": 0.1, "images_per_second": 500.0})
        if half % 2 == 0:
            lines.append(done | {"val/loss": 1.0, "val/accuracy": accuracy, "val/f1_macro": accuracy})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
