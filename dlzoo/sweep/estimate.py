"""A sweep that is not carried out: what it would run, and how long that would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

import torch
from rich.console import Console
from rich.text import Text

from dlzoo.assembly import Assembled
from dlzoo.data.splits import Splits
from dlzoo.executors.job import Executor
from dlzoo.runs.run_dir import RunDir
from dlzoo.sweep.check import blueprint, different
from dlzoo.sweep.plan import Config, Planned
from dlzoo.tasks.follow import Timer

#: Steps that are measured of each kind of run, the first of which does not count.
_STEPS = 5
#: Seconds from the start of a process to its first step, and from its last to its pictures; as they were seen on a
#: two-core machine.
_AROUND = 6.0


def estimate(
    console: Console,
    runs: Sequence[Planned],
    states: Mapping[str, str],
    labels: Mapping[Path, str],
    places: Executor,
) -> None:
    """Print each run with its state and, where it is not finished, the seconds that it would take.

    A kind of run (all that differ in their seed only) takes what its finished ones took, or what some of its steps take
    here, on as many threads as it would have.
    """
    seconds: dict[Path, float] = {}
    before, measured = torch.get_num_threads(), 0
    torch.set_num_threads(getattr(places, "threads", before))
    try:
        for same, data in different(runs):
            took = [RunDir(run.path).read() for run in same if states.get(run.path.name) == "finished"]
            if took:
                each = mean(record["wall_seconds"] for record in took)
            else:
                each, measured = _seconds(same[0].config, data), measured + 1
            seconds |= {run.path: each for run in same if states.get(run.path.name) != "finished"}
    finally:
        torch.set_num_threads(before)
    for run in runs:
        state = states.get(run.path.name, "new")
        about = f"  about {said(seconds[run.path])}" if run.path in seconds else ""
        console.print(Text(f"{state:<12}{labels[run.path]}{about}"), soft_wrap=True)
    total, workers = sum(seconds.values()), getattr(places, "workers", None)
    together = f", {said(total / workers)} with {workers} at a time" if workers else ""
    by = f" ({_STEPS} steps of {measured} kind(s) of run were measured)" if measured else ""
    console.print(Text(f"estimate    {len(seconds)} to run: about {said(total)} of work{together}{by}"), soft_wrap=True)


def _seconds(config: Config, data: Splits) -> float:
    """What a run takes, by a few of its steps in this process."""
    plan, trainer = blueprint(config, data).plan, config["trainer"]
    world = trainer["nodes"] * (1 if trainer["devices"] == "all" else trainer["devices"])
    short = {"max_epochs": 1, "limit_batches": _STEPS, "devices": 1, "nodes": 1, "early_stopping": None}
    timer = Timer()
    made = Assembled(
        config | {"init_from": None, "trainer": trainer | short | {"compile": False}},
        data=replace(data, batch_size=data.batch_size // world),
        callbacks=[timer],
    )
    made.fit(None, [])
    step = median(after - before for before, after in zip(timer.steps, timer.steps[1:], strict=False))
    val = made.task.eval_feeds.get("val")
    # A validation was of a few batches as well.
    validation = 0.0 if val is None else timer.validation * len(made.data.val or ()) / val.samples
    return _AROUND + plan.steps * step + plan.epochs * validation


def said(seconds: float) -> str:
    """A time in words: "34 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
