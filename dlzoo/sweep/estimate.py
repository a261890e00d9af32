"""A sweep that is not carried out: what it would run, and how long that would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import torch
from rich.console import Console
from rich.text import Text

from dlzoo.builder.profile import without_weights
from dlzoo.builder.trainer import Assembled
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.engine.timing import Timer
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.executors.job import Executor
from dlzoo.sweep.plan import Config, Planned
from dlzoo.sweep.preflight import kinds, on_one_cpu, run_recipe, world

#: Steps that are measured of each kind of run, the first of which does not count.
_STEPS = 5
#: Seconds from the start of a process to its first step, and from its last to its pictures; as they were seen on a
#: two-core machine with both cores at it. A run that is finished knows of its time but not of the imports before it.
_AROUND, _IMPORTS = 9.0, 6.0


def estimate(
    console: Console,
    runs: Sequence[Planned],
    states: Mapping[str, str],
    labels: Mapping[Path, str],
    runner: Executor,
) -> None:
    """Print each run with its state and, where it is not finished, the seconds that it would take.

    A kind of run (all that differ in their seed only) takes what its finished ones took, or what some of its steps take
    here, on as many threads as it would have.
    """
    seconds: dict[Path, float | None] = {}
    before, measured = torch.get_num_threads(), 0
    try:
        with console.status("measuring"):
            for same, data in kinds(runs):
                left = [run for run in same if states.get(run.path.name) != "finished"]
                took = [RunDir(run.path).read()["wall_seconds"] for run in same if run not in left]
                if left and not took:
                    torch.set_num_threads(same[0].config["trainer"]["threads"] or runner.threads)
                    measured += 1
                each = _IMPORTS + mean(took) if took else _seconds(same[0].config, data) if left else None
                seconds |= {run.path: each for run in left}
    finally:
        torch.set_num_threads(before)
    for run in runs:
        known = seconds.get(run.path)
        about = "  about " + said(known) if known is not None else "  not measured" if run.path in seconds else ""
        state = states.get(run.path.name, "new")
        console.print(Text(f"{state:<12}{labels[run.path]}{about}"), soft_wrap=True)
    total = sum(each for each in seconds.values() if each is not None)
    together = f", {said(total / runner.workers)} with {runner.workers} at a time" if runner.workers else ""
    by = f" ({_STEPS} steps of {measured} kinds of run were measured)" if measured else ""
    console.print(Text(f"estimate    {len(seconds)} to run: about {said(total)} of work{together}{by}"), soft_wrap=True)


def _seconds(config: Config, data: Splits) -> float | None:
    """What a run takes, by a few of its steps in this process; None if it loses its loss in them."""
    schedule = run_recipe(config, data).schedule
    short = {"max_epochs": 1 if schedule.steps_per_epoch > 1 else 2, "limit_batches": _STEPS, "early_stopping": None}
    alone = on_one_cpu(config) if world(config) > 1 else config
    timer = Timer()
    try:
        made = Assembled(
            without_weights(alone) | {"trainer": alone["trainer"] | short | {"compile": False}},
            data=replace(data, batch_size=data.batch_size // world(config)),
            callbacks=[timer],
        )
        made.fit(None, [])
    except UserError:
        return None
    step = median(after - before for before, after in pairwise(timer.steps))
    val = made.task.loaders.val
    # A validation was of a few batches as well.
    validation = 0.0 if val is None else timer.validation * len(made.data.val or ()) / val.samples
    return _AROUND + schedule.steps * step + schedule.epochs * validation


def said(seconds: float) -> str:
    """A time in words: "34 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
