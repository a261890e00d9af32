"""Measure the overhead of the framework: ratios and differences in one process, medians of interleaved repetitions.

    python scripts/bench.py [--device cuda] [--repeats 5] [--quick] [--only loop end sweeps report ...]

"Ours" is a complete run (progress bar, TensorBoard, metrics.jsonl, checkpoints, clipping, EMA and schedule on, logging
every 50 steps); the bare loop trains the same network on the same batches with the same clipping, EMA, schedule and
validation, and prints, logs and saves nothing.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from bench_detection import detector_costs, suppressor_costs
from bench_input import end_to_end, input_costs
from bench_loop import Row, gpu_costs, interleaved, loop_costs
from bench_recipes import recipe_costs
from bench_report import report_costs
from bench_sweeps import sweep_costs


def start_costs(repeats: int) -> list[Row]:
    """Compare the time to the first step of `python train.py` with that of the imports that it needs."""
    imports = "import torch, pytorch_lightning, torch.utils.tensorboard"

    def seconds(*words: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
            return time.perf_counter() - began

    first = (
        "import os; from dlzoo.engine.task_module import TaskModule; step = TaskModule._step\n"
        "def stop(self, number): step(self, number); os._exit(0)\n"
        "TaskModule._step = stop\n"
        "from dlzoo.cli import main; main(['train'])"
    )
    imported, stepped = interleaved(repeats, lambda: seconds("-c", imports), lambda: seconds("-c", first))
    extra = statistics.median(s - i for i, s in zip(imported, stepped, strict=True))
    return [
        ("imports of torch, Lightning and TensorBoard", f"{statistics.median(imported):.2f} s"),
        ("first step of python train.py, after the imports", f"{extra:+.2f} s"),
        ("first step / imports", f"{statistics.median(s / i for i, s in zip(imported, stepped, strict=True)):.2f}"),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smaller, noisier")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["loop", "input", "recipes", "end", "start", "sweeps", "report", "suppressors", "detector", "gpu"],
    )
    arguments = parser.parse_args()
    trainer = {"cpu": "cpu", "cuda": "gpu"}[arguments.device]
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{platform.machine()} CPU"
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.repeats} repetitions")
    repeats, quick = arguments.repeats, arguments.quick
    costs: dict[str, Callable[[], list[Row]]] = {
        "loop": lambda: loop_costs(repeats, quick, trainer),
        "input": lambda: input_costs(repeats, quick),
        "recipes": lambda: recipe_costs(repeats, quick),
        "end": lambda: end_to_end(repeats, quick, trainer),
        "start": lambda: start_costs(repeats),
        "sweeps": lambda: sweep_costs(repeats, quick),
        "report": lambda: report_costs(repeats, quick),
        "suppressors": lambda: suppressor_costs(repeats),
    }
    if arguments.device == "cuda":
        costs["gpu"] = lambda: gpu_costs(repeats, quick, trainer)
        costs["detector"] = lambda: detector_costs(repeats, quick, trainer)
    for kind, measure in costs.items():
        for name, value in measure() if kind in (arguments.only or costs) else []:
            print(f"| {name:<67} | {value:>11} |", flush=True)


if __name__ == "__main__":
    main()
