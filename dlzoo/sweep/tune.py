"""A search: trials are runs like any other, and Optuna says which to try and which to give up."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlzoo.core.errors import Interrupted, UserError
from dlzoo.runs.differences import flat
from dlzoo.runs.lock import Lock
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.check import existing
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.executors.factory import executor
from dlzoo.sweep.plan import SweepPlan, plan
from dlzoo.sweep.request import Asked
from dlzoo.sweep.scheduler import Parent, create
from dlzoo.sweep.sweep import terminated_as_stopped

try:
    import optuna
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import FrozenTrial, Trial, TrialState

    from dlzoo.sweep.search_space import Space, any_of, spelled, split
except ImportError as error:
    raise UserError(f"tune needs Optuna: pip install 'dlzoo[tune]' ({error})") from error

#: Reports to Optuna over a whole run; each is a write to its file.
_REPORTS = 50
#: How the error of a run begins that was given up.
_GIVEN_UP = "given up after"
#: Trials that are drawn at random, and after which some are given up.
_RANDOM = 8


@dataclass(frozen=True)
class Found:
    """What a search found: the settings of its best trial, its validation result, and where it lies."""

    settings: list[str]
    value: float
    run: Path


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
    first, epochs = _checked(fixed, space)
    runner = executor(first.kind, first.executor, first.folder, [first.runs[0].config] * trials)
    runner.check(first.runs[0].config)
    first.folder.mkdir(parents=True, exist_ok=True)
    lock = Lock.on(first.folder / ".lock", tries=3)
    if lock is None:
        raise UserError(f"{first.folder}: another search is at it")
    try:
        study = _study(first.folder, first.runs[0].config["seed"], epochs // 5)
        _refuse_another(study, fixed, space, first)
        console.print(Text(f"search      {first.folder}: {trials} trials over {', '.join(space)}"), soft_wrap=True)
        console.print(Text(f"executor    {runner.describe()}"), soft_wrap=True)
        with (
            SweepDisplay(console, trials, selecting=True) as display,
            Parent(runner, display) as parent,
            terminated_as_stopped(),
        ):
            stride = max(1, epochs // _REPORTS)
            search = _Search(
                study, [*fixed, f"name={first.name}"], space, first.runs[0].config, stride, parent, display
            )
            try:
                search.carry_out(trials)
            except KeyboardInterrupt:
                parent.stop()
                raise Interrupted("stopped; the same line goes on") from None
        return _conclude(console, first, study, fixed)
    finally:
        lock.release()


class _Search:
    """Turns trials into runs for a parent, and their ends into results for Optuna.

    Args:
        usual: a config of this search, to ask for room with.
        stride: epochs from one report to the next.
    """

    def __init__(
        self,
        study: optuna.Study,
        fixed: list[str],
        space: Space,
        usual: dict[str, Any],
        stride: int,
        parent: Parent,
        display: SweepDisplay,
    ) -> None:
        self._study, self._fixed, self._space, self._usual = study, fixed, space, usual
        self._stride, self._parent, self._display = stride, parent, display
        #: Trials by the run that they wait for; equal settings are one run.
        self._trials: dict[Path, list[Trial]] = {}
        self._reported: dict[Path, int] = {}

    def carry_out(self, trials: int) -> None:
        """Until so many trials have ended, those of earlier starts included."""
        for old in self._study.get_trials(states=(TrialState.RUNNING,)):
            if set(old.params) == set(self._space):  # an earlier start was killed
                self._begin(Trial(self._study, old._trial_id))
            else:  # while it was being drawn
                self._study.tell(old.number, state=TrialState.FAIL)
        while self._trials or self._ended() < trials:
            begun = self._ended() + sum(map(len, self._trials.values()))
            if begun < trials and self._parent.has_room(self._usual):
                self._begin(self._study.ask(self._space))
            for row in self._parent.look():
                for trial in self._trials.pop(row.path):
                    self._tell(trial, row)
            for path in self._parent.going:
                self._report(path)

    def _ended(self) -> int:
        over = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return len(self._study.get_trials(deepcopy=False, states=over))

    def _begin(self, trial: Trial) -> None:
        """Give the run of a trial to the parent, unless another trial waits for it."""
        try:
            (planned,) = _planned(self._fixed, trial.params).runs
            existing([planned])
            create([planned])
        except UserError as error:  # settings that do not go together
            self._study.tell(trial, state=TrialState.FAIL)
            self._display.line(f"failed      {_label(trial)}  {error}")
            return
        if planned.path not in self._trials:
            self._parent.add(planned, _label(trial))
        self._trials.setdefault(planned.path, []).append(trial)
        before = self._study.trials[trial.number].intermediate_values
        self._reported[planned.path] = max(before, default=0)

    def _report(self, path: Path) -> None:
        """Tell Optuna what a run has measured since the last look, and give the run up if that is hopeless."""
        from dlzoo.runs.logged import read_metrics

        key = f"val/{Row.of(path).record.get('monitor')}"
        results = [line[key] for line in read_metrics(RunDir(path).metrics_file) if line.get(key) is not None]
        trial = self._trials[path][0]
        news = [epoch for epoch in range(self._stride, len(results) + 1, self._stride) if epoch > self._reported[path]]
        for epoch in news:
            trial.report(max(results[:epoch]), epoch)
            self._reported[path] = epoch
        if news and trial.should_prune():
            self._parent.give_up(path, f"{_GIVEN_UP} {len(results)} epochs: worse than the median of the others")

    def _tell(self, trial: Trial, row: Row) -> None:
        """A run has ended: finished with a number, given up, or failed."""
        measured = _result(row.record) if row.state == "finished" else None
        if measured is not None:
            self._study.tell(trial, measured)
        elif row.error.startswith(_GIVEN_UP):
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def _label(trial: Trial) -> str:
    return f"trial {trial.number}  {' '.join(spelled(trial.params))}"


def _result(record: dict[str, Any]) -> float | None:
    """The validation result of the weights that a finished run selected."""
    return record["metrics"].get(f"val/{record['monitor']}")


def _trials(words: Sequence[str]) -> tuple[int, list[str]]:
    said = [word.removeprefix("trials=") for word in words if word.startswith("trials=")]
    if said and (len(said) > 1 or not said[0].isdecimal() or int(said[0]) < 1):
        raise UserError(f"trials={said[-1]}: it must be an integer >= 1")
    return int(said[0]) if said else 20, [word for word in words if not word.startswith("trials=")]


def _planned(fixed: Sequence[str], values: dict[str, Any]) -> SweepPlan:
    """The run of a trial, as a sweep of one."""
    named = any(line.startswith("name=") for line in fixed)
    name = [] if named else ["name=" + "-".join(["tune", *sorted(key.rpartition(".")[2] for key in values)])]
    return plan(Asked([*fixed, *name, *spelled(values)]))


def _checked(fixed: Sequence[str], space: Space) -> tuple[SweepPlan, int]:
    """A run of the search and its epochs, after everything was checked that can be without knowing the trials.

    Raises:
        UserError: for an option that is no option, settings that never fit, or a search without validation.
    """
    if "seed" in space:
        raise UserError("seed is nothing to search: the search would pick the luckiest one")
    usual = {key: any_of(kind) for key, kind in space.items()}
    for key, kind in space.items():
        for value in kind.choices if isinstance(kind, CategoricalDistribution) else ():
            _planned(fixed, usual | {key: value})
    first = _planned(fixed, usual)
    if first.settings.dry_run:
        raise UserError("sweep.dry_run is for sweeps: how long a search takes, its trials decide")
    # Here, not above, as the other two that need torch: a typo is answered before it is imported.
    from dlzoo.sweep.preflight import kinds, run_recipe

    ((_, data),) = kinds(first.runs)
    if data.val is None:
        raise UserError("tune selects on the validation split, and there is none: data.val_fraction > 0")
    return first, run_recipe(first.runs[0].config, data).schedule.epochs


def _refuse_another(study: optuna.Study, fixed: Sequence[str], space: Space, first: SweepPlan) -> None:
    """A search goes on with the settings and the space that it was begun with.

    Raises:
        UserError: if they are others.
    """
    settings = flat(first.runs[0].config)
    about = {key: value for key, value in settings.items() if key.partition(".")[0] not in space and key not in space}
    about = {"settings": about, "space": {key: repr(kind) for key, kind in space.items()}}
    begun = study.user_attrs.get("about")
    if begun is None:
        study.set_user_attr("about", about)
        return
    for part, now in about.items():
        other = [key for key in {**begun[part], **now} if begun[part].get(key) != now.get(key)]
        if other:
            raise UserError(f"{first.folder} holds a search that was begun with other {part}: {', '.join(other)}; "
                            "say another name=")  # fmt: skip


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
        study.sampler = optuna.samplers.TPESampler(
            seed=(seed + begun) % 2**32, n_startup_trials=_RANDOM, constant_liar=True
        )
        return study


def _conclude(console: Console, first: SweepPlan, study: optuna.Study, fixed: list[str]) -> Found | None:
    """Print the best trials and draw them all."""
    from dlzoo.metrics import plots

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
    plots.trials(values, settings, first.name).savefig(first.folder / "tune.png", dpi=120)
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
