"""Measure the time of a sweep, for scripts/bench.py."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dlzoo.config import compose
from dlzoo.runs.run_dir import RunDir

TRAIN = str(Path(__file__).parents[1] / "train.py")


def sweep_costs(repeats: int, quick: bool) -> list[tuple[str, str]]:
    """Compare eight runs in parallel with one after the other on all cores, and measure the table of 2,000 runs."""
    epochs = 2 if quick else 20
    line = ["model=resnet20", "model.width=8", f"trainer.max_epochs={epochs}", "trainer=cpu", "seed=range(8)"]
    ratios = []
    for _ in range(repeats):
        together = sweep_seconds([*line])
        ratios.append(together / sweep_seconds([*line, "executor.workers=1"]))
    with tempfile.TemporaryDirectory() as folder:
        many_runs(Path(folder), 2000)
        table = statistics.median(seconds(["runs", folder]) for _ in range(repeats))
    return [
        ("a sweep of 8 runs: executor=local / one after the other", f"{statistics.median(ratios):.2f}"),
        ("dlzoo runs over 2,000 run directories", f"{table:.2f} s"),
    ]


def sweep_seconds(words: list[str]) -> float:
    """Return the seconds of a sweep, imports included."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds(["train", "-m", *words, f"sweep.dir={folder}/sweep"])


def seconds(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dlzoo.cli", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def many_runs(folder: Path, count: int) -> None:
    """Write run directories like those of a sweep of two norms, one in fifty of them still running."""
    config = compose(["norm=gn"])
    for number in range(count):
        config["seed"], config["norm"]["num_groups"] = number // 2, (32, 16)[number % 2]
        run = RunDir(folder / f"{number:04}")
        run.path.mkdir()
        run.config_file.touch()
        state = "running" if number % 50 == 0 else "finished"
        facts = {"steps_per_epoch": 20, "monitor": "accuracy", "metrics": {"test/accuracy": 0.9}, "classes": ["0"] * 10}
        run.state_file.write_text(json.dumps({"state": state, "config": config, **facts}))
        lines = (json.dumps({"step": step, "val/accuracy": 0.5}) + "\n" for step in range(0, 400, 20))
        run.metrics_file.write_text("".join(lines))
