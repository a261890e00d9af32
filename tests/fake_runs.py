"""Run directories as a sweep leaves them, without a training: for tests of what reads them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from dlzoo.config import compose
from dlzoo.runs.run_dir import RunDir

CLASSES = ["cat", "dog", "ship"]
Accuracy = Callable[[Mapping[str, Any], int], float]


def write_sweep(
    folder: Path,
    arms: Sequence[Sequence[str]],
    seeds: Sequence[int],
    accuracy: Accuracy,
    epochs: int = 3,
    **facts: Any,
) -> list[RunDir]:
    """A finished run for each arm and seed.

    Args:
        arms: the settings of each.
        accuracy: (config, seed) -> its test accuracy.
        facts: fields of every run.json, in place of the usual ones.
    """
    runs = []
    for words in arms:
        config = compose(words)
        for seed in seeds:
            own = deepcopy(config) | {"seed": seed}
            path = folder / ",".join([*sorted(words), f"seed={seed}"])
            runs.append(write_run(path, own, accuracy(config, seed), epochs, **facts))
    return runs


def write_run(path: Path, config: dict[str, Any], accuracy: float, epochs: int = 3, **facts: Any) -> RunDir:
    """One finished run."""
    run = RunDir.create(path, config)
    size = config["data"]["batch_size"]
    steps = 900 // size
    record = {
        "state": "finished",
        "error": None,
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "git_commit": "0" * 40,
        "task": "classify",
        "kind": "images",
        "data_fingerprint": "f" * 16,
        "data_sizes": {"train": 900, "val": 100, "test": 300},
        "classes": CLASSES,
        "by_class": {"recall": [accuracy, accuracy - 0.01, accuracy + 0.01]},
        "seed": config["seed"],
        "monitor": "accuracy",
        "params": 269_722,
        "macs": 40_551_040,
        "batch_size": size,
        "steps_per_epoch": steps,
        "effective_lr": config["optimizer"]["lr"],
        "device": "CPU, 1 thread",
        "ranks": 1,
        "precision": "32-true",
        "metrics": {"val/accuracy": accuracy, "test/loss": 1 - accuracy, "test/accuracy": accuracy},
        "images_per_second": 500.0,
        "peak_memory_bytes": 10**9,
        "steps": steps * epochs,
        "wall_seconds": 30.0,
        "finished": "2026-11-22T03:02:32+00:00",
    }
    run.update(**record | facts)
    noise = random.Random(config["seed"])
    with run.metrics_file.open("w") as log:
        for epoch in range(1, epochs + 1):
            done = {"step": epoch * steps, "epoch": float(epoch)}
            log.write(json.dumps(done | {"train/loss": 2 / epoch + noise.random() / 10, "lr": 0.1}) + "\n")
            log.write(json.dumps(done | {"val/loss": 1.0, "val/accuracy": accuracy * epoch / epochs}) + "\n")
    return run
