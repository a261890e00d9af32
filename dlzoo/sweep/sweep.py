"""A sweep from its line to its table."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from dlzoo.comparison.factors import design
from dlzoo.comparison.fairness import MILD, findings
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.runs import reuse, sweep_file, table
from dlzoo.runs.differences import differing, flat, format_value
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.sweep import check
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.plan import Planned, SweepPlan, plan
from dlzoo.sweep.request import Asked
from dlzoo.sweep.scheduler import carry_out, create

if TYPE_CHECKING:
    from dlzoo.sweep.executors.job import Executor

#: More rows than this are not printed after a sweep: only those that did not finish.
_FEW = 60


@dataclass(frozen=True)
class Swept:
    """What is there of a sweep.

    Args:
        folder: where it lies.
        rows: a row a run, by address.
        ok: false if a run that was to be carried out did not finish.
        dry: whether nothing was to be carried out.
    """

    folder: Path
    rows: list[table.Row]
    ok: bool
    dry: bool = False


def sweep(asked: Asked, console: Console | None = None) -> Swept:
    """Carry out every run that a line such as ["name=norms", "norm=bn,gn", "seed=range(8)"] stands for.

    What is finished is left as it is, what was interrupted goes on, what failed is tried again.

    Raises:
        UserError: for anything that the user can mend, before the first run starts.
        Interrupted: after Ctrl-C, when the runs of this machine have saved.
    """
    console = console or Console()
    planned = plan(asked)
    states = check.existing(planned.runs)
    missing = [run for run in planned.runs if states.get(run.path.name) != "finished"]
    labels = _labels(planned)
    _announce(console, planned, states)
    _look_whether_fair(console, asked, planned)
    runner = _ready(console, planned, missing) if missing or planned.settings.dry_run else None
    if planned.settings.dry_run and runner:
        from dlzoo.sweep.estimate import estimate

        estimate(console, planned.runs, states, labels, runner)
        there = [run.path for run in planned.runs if run.path.exists()]
        return Swept(planned.folder, table.rows(there), ok=True, dry=True)
    create(missing)
    sweep_file.write(planned.folder, _what_was_asked(asked, planned))
    if runner:
        with SweepDisplay(console, len(missing)) as display, terminated_as_stopped():
            try:
                for runs in _waves(planned, missing):
                    carry_out(runs, labels, runner, display)
            except KeyboardInterrupt:
                left = "they go on; `dlzoo runs` shows how far they are" if runner.detached else "the same line goes on"
                done = sum(row.state == "finished" for row in table.rows([run.path for run in planned.runs]))
                raise Interrupted(f"stopped, {done} of {len(planned.runs)} runs are finished; {left}") from None
    rows = table.rows(sorted(run.path for run in planned.runs))
    _conclude(console, planned, rows)
    return Swept(planned.folder, rows, all(row.state == "finished" for row in rows))


def _waves(planned: SweepPlan, missing: Sequence[Planned]) -> list[list[Planned]]:
    """Runs that train, and then those that only test what another of them has trained."""
    sources = reuse.source_runs((run.path, run.config) for run in planned.runs)
    dependents = [run for run in missing if run.path in sources]
    for run in dependents:
        reuse.set_source(sources[run.path], run.path)
    return [[run for run in missing if run.path not in sources], dependents]


def _look_whether_fair(console: Console, asked: Asked, planned: SweepPlan) -> None:
    """Say what makes the runs no fair comparison.

    Raises:
        UserError: for the first such thing, if sweep.strict was asked for and it is no mild one; for a baseline that no
            run has.
    """
    configs = [run.config for run in planned.runs]
    found = findings(configs, design(configs, asked.baseline, _order(planned)))
    grave = [finding for finding in found if finding.kind not in MILD]
    if grave and planned.settings.strict:
        more = f" (and {len(grave) - 1} more; sweep.strict=false lists them)" if len(grave) > 1 else ""
        raise UserError(f"sweep.strict=true: {grave[0].text}{more}")
    for finding in found:
        console.print(Text(f"note        {finding.text}"), soft_wrap=True)
    seeds = len({config["seed"] for config in configs})
    if asked.kind == "compare" and len(configs) > seeds:
        # Here, not above: it brings scipy, which takes longer to import than a typo takes to be answered.
        from dlzoo.comparison.power import seeds_to_reach

        enough = seeds_to_reach(0.05)
        if enough and seeds < enough:
            few = f"with {seeds} seeds no difference can be significant at 0.05: that takes seeds={enough}"
            console.print(Text(f"note        {few}"), soft_wrap=True)


def _ready(console: Console, planned: SweepPlan, missing: Sequence[Planned]) -> Executor:
    """The executor of runs that can be carried out.

    Raises:
        UserError: for the first that cannot be.
    """
    # Here, not above: a typo is answered before torch is imported.
    from dlzoo.sweep.executors.factory import executor
    from dlzoo.sweep.preflight import refuse_infeasible

    runner = executor(planned.kind, planned.executor, planned.folder, [run.config for run in planned.runs])
    for run in missing:
        runner.check(run.config)
    refuse_infeasible(missing)
    console.print(Text(f"executor    {runner.describe()}"), soft_wrap=True)
    return runner


def _what_was_asked(asked: Asked, planned: SweepPlan) -> SweepFile:
    return SweepFile(
        lines=[shlex.join(asked.typed)] if asked.typed else [],
        order=_order(planned),
        baseline=asked.baseline,
        metric=asked.metric,
        margin=asked.margin,
        question=asked.question,
        expected=asked.expected,
    )


def _order(planned: SweepPlan) -> dict[str, list[str]]:
    """The values of what varies, as they were typed."""
    settings = [flat(run.config) for run in planned.runs]
    return {key: list(dict.fromkeys(format_value(each.get(key)) for each in settings)) for key in planned.varying}


def _announce(console: Console, asked: SweepPlan, states: dict[str, str]) -> None:
    known = [states.get(run.path.name, "new") for run in asked.runs]
    parts = ", ".join(f"{known.count(state)} {state}" for state in dict.fromkeys(known))
    of = f" of {' x '.join(asked.varying)}" if asked.varying else ""
    unnamed = "" if asked.named else "  (say name=... for a name of its own)"
    console.print(Text(f"sweep       {asked.folder}{unnamed}"), soft_wrap=True)
    console.print(Text(f"runs        {len(asked.runs)}{of}: {parts}"), soft_wrap=True)


def _labels(asked: SweepPlan) -> dict[Path, str]:
    """What tells a run from the others of its sweep."""
    keys = differing([run.config for run in asked.runs]) if len(asked.runs) > 1 else []
    labels = {}
    for run in asked.runs:
        settings = flat(run.config)
        labels[run.path] = (
            " ".join(f"{key}={format_value(settings[key])}" for key in keys if key in settings) or run.path.name
        )
    return labels


def _conclude(console: Console, asked: SweepPlan, rows: Sequence[table.Row]) -> None:
    shown = rows if len(rows) <= _FEW else [row for row in rows if row.state != "finished"]
    if shown:
        table.show(console, shown, asked.folder)
    console.print(Text(table.counts(rows)), soft_wrap=True)
    console.print(Text(f"next        dlzoo report {asked.folder}"), soft_wrap=True)
    console.print(Text(f"            dlzoo runs {asked.folder}"), soft_wrap=True)
    console.print(Text(f"            tensorboard --logdir {asked.folder}"), soft_wrap=True)


@contextmanager
def terminated_as_stopped() -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is."""
    before = None
    with suppress(ValueError):  # outside the main thread
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
