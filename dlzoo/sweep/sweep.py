"""Run a sweep."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from dlzoo.comparison.factors import make_design
from dlzoo.comparison.fairness import MILD, findings
from dlzoo.core.console import Console
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.core.files import reason, shorten
from dlzoo.runs import reuse, sweep_file, table
from dlzoo.runs.differences import differing_keys, flatten, format_value
from dlzoo.runs.sweep_file import SweepFile
from dlzoo.sweep import check
from dlzoo.sweep.common import refuse_other_common
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.existing import free_name
from dlzoo.sweep.plan import PlannedRun, SweepPlan, plan
from dlzoo.sweep.request import SweepRequest
from dlzoo.sweep.scheduler import create, execute_runs

if TYPE_CHECKING:
    from dlzoo.sweep.executors.job import Executor

#: Most rows that are printed after a sweep; with more runs only those that did not finish are.
_FEW = 60


@dataclass(frozen=True)
class SweepResult:
    """The state of a sweep when `sweep` returns.

    Args:
        folder: the sweep's folder.
        rows: one row per run, by address.
        ok: whether all runs are finished; true after a dry run.
        dry: whether it was a dry run.
    """

    folder: Path
    rows: list[table.Row]
    ok: bool
    dry: bool = False


def sweep(request: SweepRequest, console: Console | None = None) -> SweepResult:
    """Execute every run of a sweep such as ["name=norms", "norm=bn,gn", "seed=range(8)"].

    Finished runs are left as they are, interrupted ones are resumed, failed ones are tried again.

    Raises:
        UserError: for anything that the user can correct, before the first run starts.
        Interrupted: after Ctrl-C, when the runs of this machine have saved.
    """
    console = console or Console()
    planned = plan(request)
    refuse_other_common(request, planned)
    states = check.existing_states(planned.runs, free_name(planned.folder, in_outputs=not planned.settings.dir))
    missing = [run for run in planned.runs if states.get(run.path.name) != "finished"]
    labels = _labels(planned)
    _announce(console, planned, states)
    _check_fairness(console, request, planned)
    runner = _prepare_executor(console, planned, missing) if missing or planned.settings.dry_run else None
    if planned.settings.dry_run and runner:
        from dlzoo.sweep.estimate import estimate

        estimate(console, planned.runs, states, labels, runner)
        there = [run.path for run in planned.runs if run.path.exists()]
        return SweepResult(planned.folder, table.rows(there), ok=True, dry=True)
    write_request(request, planned)
    create(missing)
    if runner:
        with SweepDisplay(console, len(missing)) as display, stop_on_sigterm():
            try:
                for runs in _waves(planned, missing):
                    execute_runs(runs, labels, runner, display)
            except KeyboardInterrupt:
                left = (
                    "the others keep running; see `dlzoo runs`" if runner.detached else "repeat the command to resume"
                )
                done = sum(row.state == "finished" for row in table.rows([run.path for run in planned.runs]))
                raise Interrupted(f"stopped, {done} of {len(planned.runs)} runs are finished; {left}") from None
    rows = table.rows(sorted(run.path for run in planned.runs))
    _conclude(console, planned, rows)
    return SweepResult(planned.folder, rows, all(row.state == "finished" for row in rows))


def _waves(planned: SweepPlan, missing: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    """Return the runs that train, and then the dependent runs, which only test the network of another run."""
    taught_by = reuse.source_runs((run.path, run.config) for run in planned.runs)
    dependent = [run for run in missing if run.path in taught_by]
    for run in dependent:
        reuse.set_source(taught_by[run.path], run.path)
    return [[run for run in missing if run.path not in taught_by], dependent]


def _check_fairness(console: Console, request: SweepRequest, planned: SweepPlan) -> None:
    """Print the differences that make the comparison of the runs unfair.

    Raises:
        UserError: for the first such difference that is not mild, if sweep.strict is set; if no run has the baseline.
    """
    configs = [run.config for run in planned.runs]
    cautions = findings(configs, make_design(configs, request.baseline, _order(planned)))
    severe = [finding for finding in cautions if finding.kind not in MILD]
    if severe and planned.settings.strict:
        more = f" (and {len(severe) - 1} more; sweep.strict=false lists them)" if len(severe) > 1 else ""
        raise UserError(f"sweep.strict=true: {severe[0].text}{more}")
    for finding in cautions:
        console.print(Text(f"note        {finding.text}"), soft_wrap=True)
    seeds = len({config["seed"] for config in configs})
    if request.kind == "compare" and len(configs) > seeds:
        # Imported here: it imports scipy, which would delay the answer to a typo.
        from dlzoo.comparison.power import seeds_to_reach

        enough = seeds_to_reach(0.05)
        if enough and seeds < enough:
            few = f"with {seeds} seeds no difference can be significant at 0.05; set seeds={enough} or more"
            console.print(Text(f"note        {few}"), soft_wrap=True)


def _prepare_executor(console: Console, planned: SweepPlan, missing: Sequence[PlannedRun]) -> Executor:
    """Return the executor, after a check that it can execute the missing runs.

    Raises:
        UserError: for the first run that it cannot execute.
    """
    # Imported here: a typo is answered before torch is imported.
    from dlzoo.sweep.executors.factory import make_executor
    from dlzoo.sweep.preflight import refuse_infeasible

    runner = make_executor(planned.kind, planned.executor, planned.folder, [run.config for run in planned.runs])
    for run in missing:
        runner.check(run.config)
    refuse_infeasible(missing)
    console.print(Text(f"executor    {runner.describe()}"), soft_wrap=True)
    return runner


def write_request(request: SweepRequest, planned: SweepPlan) -> None:
    """Write sweep.json before the first run, or add to sweep_log.jsonl what an earlier sweep of this name lacks.

    Raises:
        UserError: if the folder cannot be written.
    """
    asked = SweepFile(
        lines=[shlex.join(request.typed)] if request.typed else [],
        common=planned.common,
        order=_order(planned),
        baseline=request.baseline,
        metric=request.metric,
        margin=request.margin,
        question=request.question,
        expected=request.expected,
    )
    try:
        sweep_file.write(planned.folder, asked)
    except OSError as error:
        raise UserError(f"cannot write the sweep to {shorten(planned.folder)}: {reason(error)}") from error


def _order(planned: SweepPlan) -> dict[str, list[str]]:
    """Return the values of the varying settings, in the order in which they were typed."""
    settings = [flatten(run.config) for run in planned.runs]
    return {key: list(dict.fromkeys(format_value(each.get(key)) for each in settings)) for key in planned.varying}


def _announce(console: Console, planned: SweepPlan, states: dict[str, str]) -> None:
    known = [states.get(run.path.name, "new") for run in planned.runs]
    parts = ", ".join(f"{known.count(state)} {state}" for state in dict.fromkeys(known))
    suffix = f" of {' x '.join(planned.varying)}" if planned.varying else ""
    unnamed = "" if planned.named else "  (set name=... for another name)"
    console.print(Text(f"sweep       {planned.folder}{unnamed}"), soft_wrap=True)
    console.print(Text(f"runs        {len(planned.runs)}{suffix}: {parts}"), soft_wrap=True)


def _labels(planned: SweepPlan) -> dict[Path, str]:
    """Return run directory -> label: the settings that distinguish a run from the others of its sweep."""
    keys = differing_keys([run.config for run in planned.runs]) if len(planned.runs) > 1 else []
    labels = {}
    for run in planned.runs:
        settings = flatten(run.config)
        labels[run.path] = (
            " ".join(f"{key}={format_value(settings[key])}" for key in keys if key in settings) or run.path.name
        )
    return labels


def _conclude(console: Console, planned: SweepPlan, rows: Sequence[table.Row]) -> None:
    shown = rows if len(rows) <= _FEW else [row for row in rows if row.state != "finished"]
    if shown:
        table.show(console, shown, planned.folder)
    console.print(Text(table.count_states(rows)), soft_wrap=True)
    console.print(Text(f"next        dlzoo report {planned.folder}"), soft_wrap=True)
    console.print(Text(f"            dlzoo runs {planned.folder}"), soft_wrap=True)
    console.print(Text(f"            tensorboard --logdir {planned.folder}"), soft_wrap=True)


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside the context."""
    before = None
    with suppress(ValueError):  # outside the main thread
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
