"""Estimate the time of a sweep without running it (sweep.dry_run)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import torch
from rich.console import Console
from rich.text import Text

from dlzoo.builder.trainer import Assembled
from dlzoo.builder.weights import without_weights
from dlzoo.config import Config
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.engine.timing import Timer
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Executor
from dlzoo.sweep.plan import PlannedRun
from dlzoo.sweep.preflight import run_recipe, runs_by_kind, to_one_cpu, world_size

#: Steps that are measured for each kind of run; the first one is not counted.
_STEPS = 5
#: Seconds of a process before its first step and after its last one, measured on a two-core machine with both cores
#: busy; and those of the imports, which the recorded time of a finished run does not include.
_AROUND, _IMPORTS = 9.0, 6.0


def estimate(
    console: Console,
    runs: Sequence[PlannedRun],
    states: Mapping[str, str],
    labels: Mapping[Path, str],
    runner: Executor,
) -> None:
    """Print each run with its state and, if it is not finished, its estimated time.

    The time of a kind of run (runs that differ only in their seed) is that of its finished ones, or is measured with a
    few steps in this process, on as many threads as the run would have.
    """
    seconds: dict[Path, float | None] = {}
    before, measured = torch.get_num_threads(), 0
    try:
        with console.status("measuring"):
            for same, data in runs_by_kind(runs):
                left = [run for run in same if states.get(run.path.name) != "finished"]
                finished = [run for run in same if states.get(run.path.name) == "finished"]
                took = [RunDir(run.path).read()["wall_seconds"] for run in finished]
                if left and not took:
                    torch.set_num_threads(same[0].config["trainer"]["threads"] or runner.threads)
                    measured += 1
                duration = _IMPORTS + mean(took) if took else _seconds(same[0].config, data) if left else None
                seconds |= {run.path: duration for run in left}
    finally:
        torch.set_num_threads(before)
    for run in runs:
        known = seconds.get(run.path)
        about = (
            "  about " + time_in_words(known) if known is not None else "  not measured" if run.path in seconds else ""
        )
        state = states.get(run.path.name, "new")
        console.print(Text(f"{state:<12}{labels[run.path]}{about}"), soft_wrap=True)
    total = sum(duration for duration in seconds.values() if duration is not None)
    together = f", {time_in_words(total / runner.workers)} with {runner.workers} at a time" if runner.workers else ""
    by = f" ({_STEPS} steps of {measured} kinds of run were measured)" if measured else ""
    console.print(
        Text(f"estimate    {len(seconds)} to run: about {time_in_words(total)} of work{together}{by}"), soft_wrap=True
    )


def _seconds(config: Config, data: Splits) -> float | None:
    """Estimate the seconds of a run from a few of its steps in this process; None if it diverges in them."""
    schedule = run_recipe(config, data).schedule
    short = {"max_epochs": 1 if schedule.steps_per_epoch > 1 else 2, "limit_batches": _STEPS}
    short |= dict.fromkeys(("max_steps", "early_stopping", "validate_every_steps"))
    single = to_one_cpu(config) if world_size(config) > 1 else config
    timer = Timer()
    try:
        assembled = Assembled(
            without_weights(single) | {"trainer": single["trainer"] | short | {"compile": False}},
            data=replace(data, batch_size=data.batch_size // world_size(config)),
            callbacks=[timer],
        )
        assembled.fit(None, [])
    except UserError:
        return None
    step = median(after - before for before, after in pairwise(timer.steps))
    val = assembled.module.loaders.val
    # The measured validation had a few batches, too.
    validation = 0.0 if val is None else timer.validation * len(assembled.data.val or ()) / val.samples
    return _AROUND + schedule.steps * step + schedule.validations(schedule.steps) * validation


def time_in_words(seconds: float) -> str:
    """Format a time: "34 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
