"""A search: trials are runs like any other, and Optuna says which to try and which to give up."""

from __future__ import annotations

import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlzoo.errors import Interrupted, UserError
from dlzoo.executors.job import Executor, Job
from dlzoo.executors.start import executor
from dlzoo.metrics import pictures
from dlzoo.runs.metric_log import read_metrics
from dlzoo.runs.run_dir import Lock, RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.carry_out import create
from dlzoo.sweep.check import blueprint, different
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.plan import SweepPlan, plan

try:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState

    from dlzoo.sweep.space import Space, any_of, spelled, split
except ImportError as error:
    raise UserError(f"tune needs Optuna: pip install 'dlzoo[tune]' ({error})") from error

#: Seconds between two looks at the trials.
_LOOK = 0.2
#: Trials that are drawn at random, and after which some are given up.
_RANDOM = 8


@dataclass(frozen=True)
class Found:
    """What a search found: the settings of its best trial, its validation result, and where it lies."""

    settings: list[str]
    value: float
    run: Path


@dataclass
class _Going:
    """A trial whose run is going on, and how many of its validations were reported."""

    trial: Trial
    run: RunDir
    job: Job
    reported: int
    hopeless: bool = False


def tune(words: Sequence[str], console: Console | None = None) -> Found | None:
    """Search for settings: ["model=resnet20", "optimizer.lr=log(0.001,1)", "norm=choice(bn,gn)", "trials=40"].

    The same line goes on with a search that was stopped or killed. Trials are compared by their best validation result;
    one without a number (a loss that is not finite) has failed, and one whose best result so far is worse than the
    median of the others' at that epoch is given up.

    Returns:
        The best trial; None if none was finished.

    Raises:
        UserError: for anything that the user can mend, before the first trial starts.
        Interrupted: after Ctrl-C, when the runs of this machine have saved.
    """
    console = console or Console()
    trials, typed = _trials(words)
    fixed, space = split(typed)
    first = _planned(fixed, {key: any_of(kind) for key, kind in space.items()})
    warm_up = _checked(first)
    places = executor(first.kind, first.executor, first.folder, trials)
    places.check(first.runs[0].config)
    first.folder.mkdir(parents=True, exist_ok=True)
    lock = Lock.on(first.folder / ".lock")
    if lock is None:
        raise UserError(f"{first.folder}: another search is at it")
    try:
        study = _study(first.folder, first.runs[0].config["seed"], warm_up)
        console.print(Text(f"search      {first.folder}: {trials} trials over {', '.join(space)}"), soft_wrap=True)
        console.print(Text(f"executor    {places.describe()}"), soft_wrap=True)
        with SweepDisplay(console, trials) as display:
            search = _Search(study, [*fixed, f"name={first.name}"], space, places, display)
            try:
                search.carry_out(trials)
            except KeyboardInterrupt:
                search.stop()
                raise Interrupted("stopped; the same line goes on") from None
        return _conclude(console, first, study, fixed)
    finally:
        lock.release()


class _Search:
    def __init__(
        self, study: optuna.Study, fixed: list[str], space: Space, places: Executor, display: SweepDisplay
    ) -> None:
        self._study, self._fixed, self._space = study, fixed, space
        self._places, self._display = places, display
        self._going: list[_Going] = []

    def carry_out(self, trials: int) -> None:
        """Until so many trials have ended, those of earlier starts included."""
        # Those that were going on when an earlier start was killed.
        left = [Trial(self._study, old._trial_id) for old in self._study.get_trials(states=(TrialState.RUNNING,))]
        while self._going or left or self._ended() < trials:
            for going in list(self._going):
                self._look_at(going)
            if left and self._begin(left[0]):
                left.pop(0)
            elif not left and self._ended() + len(self._going) < trials and self._places.has_room(self._any):
                self._begin(self._ask())
            labels = [(going.run.path, f"trial {going.trial.number}") for going in self._going]
            self._display.update(self._ended(), labels)
            time.sleep(_LOOK)

    def stop(self) -> None:
        """Let the runs of this machine save and end; their trials go on with the next start."""
        if self._places.detached:
            return
        self._display.line(f"stopping: {len(self._going)} run(s) save and end")
        for going in self._going:
            going.job.stop()
        while not all(going.job.over() for going in self._going):
            time.sleep(_LOOK)

    @property
    def _any(self) -> dict[str, Any]:
        return _planned(self._fixed, {key: any_of(kind) for key, kind in self._space.items()}).runs[0].config

    def _ended(self) -> int:
        return len(self._study.get_trials(deepcopy=False)) - len(
            self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        )

    def _ask(self) -> Trial:
        try:
            return self._study.ask(self._space)
        except ValueError as error:
            raise UserError(f"this search was begun with another space ({error}); say another name=") from error

    def _begin(self, trial: Trial) -> bool:
        """Start the run of a trial, or take what is there of it; False if there is no room now."""
        try:
            (planned,) = _planned(self._fixed, trial.params).runs
        except UserError as error:  # settings that do not go together
            self._tell(trial, None, f"{spelled(trial.params)}: {error}")
            return True
        shared = [going.job for going in self._going if going.run.path == planned.path]
        create([planned])
        run = RunDir(planned.path)
        record = run.read()
        if record["state"] == "finished":
            self._tell(trial, record)
            return True
        if not shared and not self._places.has_room(planned.config):
            return False
        job = shared[0] if shared else self._job(run, record, planned.config)
        seen = len(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self._going.append(_Going(trial, run, job, seen))
        return True

    def _job(self, run: RunDir, record: dict[str, Any], config: dict[str, Any]) -> Job:
        name = record.get("job")
        return (self._places.find(run, name) if name else None) or self._places.start(run, config)

    def _look_at(self, going: _Going) -> None:
        """Report what a run has measured since, give it up if that is hopeless, and take its result when it is over."""
        over = going.job.over()
        record = going.run.read()
        key = f"val/{record.get('monitor', 'accuracy')}"
        results = [line[key] for line in read_metrics(going.run.metrics_file) if line.get(key) is not None]
        for epoch in range(going.reported, len(results)):
            going.trial.report(max(results[: epoch + 1]), epoch)
        going.reported = max(going.reported, len(results))
        if not over and not going.hopeless and going.trial.should_prune():
            going.hopeless = True
            going.job.stop()
        if over:
            self._going.remove(going)
            self._settle(going, record)

    def _settle(self, going: _Going, record: dict[str, Any]) -> None:
        if going.hopeless and record["state"] != "finished":
            epochs = f"given up after {going.reported} epochs: worse than the median of the others"
            going.run.update(state="interrupted", error=epochs)
            self._study.tell(going.trial, state=TrialState.PRUNED)
            self._display.ended(Row.of(going.run.path), f"trial {going.trial.number}")
            return
        if record["state"] not in ("finished", "failed"):
            going.run.update(state="failed", error=going.job.fate() or "it was stopped from outside")
            record = going.run.read()
        self._tell(going.trial, record)

    def _tell(self, trial: Trial, record: dict[str, Any] | None, why: str = "") -> None:
        """A trial has ended: finished with a number, or failed."""
        label = f"trial {trial.number}  {' '.join(spelled(trial.params))}"
        measured = _result(record) if record else None
        if measured is None:
            self._study.tell(trial, state=TrialState.FAIL)
            said = why or str((record or {}).get("error") or "no validation result").strip().splitlines()[-1]
            self._display.line(f"failed      {label}  {said}")
        else:
            self._study.tell(trial, measured)
            self._display.line(f"finished    {label}  val {measured:.4f}")


def _result(record: dict[str, Any]) -> float | None:
    """The validation result of the weights that a finished run selected."""
    return record["metrics"].get(f"val/{record['monitor']}") if record["state"] == "finished" else None


def _trials(words: Sequence[str]) -> tuple[int, list[str]]:
    said = [word.removeprefix("trials=") for word in words if word.startswith("trials=")]
    if said and (len(said) > 1 or not said[0].isdecimal() or int(said[0]) < 1):
        raise UserError(f"trials={said[-1]}: it must be an integer >= 1")
    return int(said[0]) if said else 20, [word for word in words if not word.startswith("trials=")]


def _planned(fixed: Sequence[str], values: dict[str, Any]) -> SweepPlan:
    """The run of a trial, as a sweep of one."""
    named = any(line.startswith("name=") for line in fixed)
    name = [] if named else ["name=" + "-".join(["tune", *sorted(key.rpartition(".")[2] for key in values)])]
    return plan([*fixed, *name, *spelled(values)])


def _checked(first: SweepPlan) -> int:
    """The epochs that a trial has before it may be given up, after everything about one run was checked."""
    ((_, data),) = different(first.runs)
    if data.val is None:
        raise UserError("tune selects on the validation split, and there is none: data.val_fraction > 0")
    return max(1, blueprint(first.runs[0].config, data).plan.epochs // 5)


def _study(folder: Path, seed: int, warm_up: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            # One file, which a kill leaves whole.
            storage=f"sqlite:///{(folder / 'study.db').absolute()}",
            study_name="dlzoo",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_RANDOM, n_warmup_steps=warm_up),
        )
        # A sampler begins anew with each start: from the same seed it would draw the same trials again.
        begun = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=seed + begun, n_startup_trials=_RANDOM, constant_liar=True)
        return study


def _conclude(console: Console, first: SweepPlan, study: optuna.Study, fixed: list[str]) -> Found | None:
    """Print the best trials and draw them all."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    parts = {"finished": TrialState.COMPLETE, "given up": TrialState.PRUNED, "failed": TrialState.FAIL}
    counted = ", ".join(f"{states.count(state)} {name}" for name, state in parts.items() if state in states)
    console.print(Text(f"{len(states)} trials: {counted}"), soft_wrap=True)
    if not done:
        return None
    best = sorted(done, key=_value, reverse=True)
    for trial in best[:10]:
        console.print(Text(f"  val {_value(trial):.4f}  {' '.join(spelled(trial.params))}"), soft_wrap=True)
    run = _planned([*fixed, f"name={first.name}"], best[0].params).runs[0].path
    tested = Row.of(run).metric
    everything = study.get_trials(deepcopy=False)
    values = [trial.value if trial.state == TrialState.COMPLETE else None for trial in everything]
    settings = {key: [_place(trial, key) for trial in everything] for key in best[0].params}
    pictures.trials(values, settings, first.name).savefig(first.folder / "tune.png", dpi=120)
    console.print(Text(f"best        {run}: {tested}"), soft_wrap=True)
    console.print(Text(f"picture     {first.folder / 'tune.png'}"), soft_wrap=True)
    again = [word for word in fixed if word.partition(".")[0].partition("=")[0] not in ("executor", "sweep", "name")]
    console.print(Text(f"next        python train.py {shlex.join([*again, *spelled(best[0].params)])}"), soft_wrap=True)
    return Found(spelled(best[0].params), _value(best[0]), run)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _place(trial: FrozenTrial, key: str) -> float | str | None:
    value = trial.params.get(key)
    return float(value) if isinstance(value, (int, float)) else value
