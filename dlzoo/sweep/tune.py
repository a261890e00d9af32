"""Search for settings: trials are ordinary runs, and Optuna suggests and prunes them."""

from __future__ import annotations

import shlex
import sqlite3
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from dlzoo.core.console import Console
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.runs.differences import flatten
from dlzoo.runs.lock import Lock
from dlzoo.runs.table import Row
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.executors.factory import make_executor
from dlzoo.sweep.plan import SweepPlan
from dlzoo.sweep.scheduler import Scheduler
from dlzoo.sweep.sweep import stop_on_sigterm

if TYPE_CHECKING:
    from dlzoo.builder.recipe import RunRecipe

try:
    import optuna
    from optuna.distributions import CategoricalDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

    from dlzoo.sweep.search_space import Space, example_of, settings_of_trial, split
    from dlzoo.sweep.trials import Search, plan_trial
except ImportError as error:
    raise UserError(f"tune needs Optuna: pip install 'dlzoo[tune]' ({error})") from error

#: Reports to Optuna over a run; each of them writes to its file.
_REPORTS = 50
#: Most trials of a search.
_MOST = 1_000_000
#: Random trials at the start; later ones may be pruned.
_RANDOM = 8


@dataclass(frozen=True)
class SearchResult:
    """The best trial of a search: its settings, its validation result, and its run directory."""

    settings: list[str]
    value: float
    run: Path


def tune(words: Sequence[str], console: Console | None = None) -> SearchResult | None:
    """Search for settings: ["model=resnet20", "optimizer.lr=log(0.001,1)", "norm=choice(bn,gn)", "trials=40"].

    The same words resume a search that was stopped or killed. Trials are compared by their best validation result; a
    trial without a finite result has failed, and one whose best result so far is worse than the median of the others'
    at that epoch is pruned.

    Returns:
        The best trial; None if no trial finished.

    Raises:
        UserError: for anything that the user can correct, before the first trial starts.
        Interrupted: after Ctrl-C, when the runs of this machine have saved.
    """
    console = console or Console()
    trials, typed = _trials(words)
    fixed, space = split(typed)
    first, recipe = _check_search(fixed, space)
    runner = make_executor(first.kind, first.executor, first.folder, [first.runs[0].config] * trials)
    runner.check(first.runs[0].config)
    first.folder.mkdir(parents=True, exist_ok=True)
    if (lock := Lock.on(first.folder / ".lock", tries=3)) is None:
        raise UserError(f"{first.folder}: another process runs this search")
    try:
        study = _study(first.folder, first.runs[0].config["seed"], recipe)
        _refuse_another(study, fixed, space, first)
        console.print(Text(f"search      {first.folder}: {trials} trials over {', '.join(space)}"), soft_wrap=True)
        console.print(Text(f"executor    {runner.describe()}"), soft_wrap=True)
        with (
            SweepDisplay(console, trials, selecting=True) as display,
            Scheduler(runner, display) as scheduler,
            stop_on_sigterm(),
        ):
            named, stride = [*fixed, f"name={first.name}"], max(1, _validations(recipe) // _REPORTS)
            search = Search(study, named, space, first.runs[0].config, stride, scheduler, display)
            try:
                search.run(trials)
            except KeyboardInterrupt:
                scheduler.stop()
                raise Interrupted("stopped; repeat the command to resume") from None
        return _conclude(console, first, study, fixed)
    finally:
        lock.release()


def _trials(words: Sequence[str]) -> tuple[int, list[str]]:
    values = [word.removeprefix("trials=") for word in words if word.startswith("trials=")]
    if len(values) > 1:
        raise UserError(f"trials is set twice: trials={values[0]} and trials={values[1]}; keep one")
    if values and (not values[0].isdecimal() or not 1 <= float(values[0]) <= _MOST):
        raise UserError(f"trials={values[0]}: it must be an integer from 1 to {_MOST:,}")
    return int(values[0]) if values else 20, [word for word in words if not word.startswith("trials=")]


def _check_search(fixed: Sequence[str], space: Space) -> tuple[SweepPlan, RunRecipe]:
    """Check everything that does not depend on the trials; return an example run of the search, and its recipe.

    Raises:
        UserError: for an unknown value of a choice, incompatible settings, or a search without validation.
    """
    if "seed" in space:
        raise UserError("seed cannot be searched: the search would select the luckiest one")
    if "trainer.monitor" in space:
        raise UserError("trainer.monitor cannot be searched: it is what the trials are compared by")
    example = {key: example_of(kind) for key, kind in space.items()}
    for key, kind in space.items():
        for value in kind.choices if isinstance(kind, CategoricalDistribution) else ():
            plan_trial(fixed, example | {key: value})
    first = plan_trial(fixed, example)
    if first.settings.dry_run:
        raise UserError("sweep.dry_run is for sweeps: the time of a search depends on its trials")
    # Imported here: a typo is answered before torch is imported.
    from dlzoo.sweep.preflight import run_recipe, runs_by_kind

    ((_, data),) = runs_by_kind(first.runs)
    if data.val is None:
        raise UserError("tune needs a validation split; set data.val_fraction > 0")
    return first, run_recipe(first.runs[0].config, data)


def _refuse_another(study: optuna.Study, fixed: Sequence[str], space: Space, first: SweepPlan) -> None:
    """Check that a search is resumed with the settings and the space that it was started with.

    Raises:
        UserError: if they differ.
    """
    settings = flatten(first.runs[0].config)
    about = {key: value for key, value in settings.items() if key.partition(".")[0] not in space and key not in space}
    about = {"settings": about, "space": {key: repr(kind) for key, kind in space.items()}}
    begun = study.user_attrs.get("about")
    if begun is None:
        study.set_user_attr("about", about)
        return
    for part, now in about.items():
        other = [key for key in {**begun[part], **now} if begun[part].get(key) != now.get(key)]
        if other:
            raise UserError(f"{first.folder} holds a search that was started with other {part}: {', '.join(other)}; "
                            "set another name=")  # fmt: skip


def storage_in(file: Path) -> optuna.storages.RDBStorage:
    """Return a database in one file, which survives a kill.

    Its path is not in the URL, where it would have to be quoted for SQLite, for SQLAlchemy and for Optuna.
    """
    connect = partial(sqlite3.connect, file.absolute(), check_same_thread=False)
    return optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})


def _validations(recipe: RunRecipe) -> int:
    return recipe.schedule.validations(recipe.schedule.steps)


def _study(folder: Path, seed: int, recipe: RunRecipe) -> optuna.Study:
    maximise = recipe.monitor is None or recipe.monitor.higher_is_better
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=storage_in(folder / "study.db"),
            study_name="dlzoo",
            load_if_exists=True,
            direction="maximize" if maximise else "minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_RANDOM, n_warmup_steps=_validations(recipe) // 5),
        )
        # A sampler starts again with each process: the same seed would suggest the same trials.
        begun = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(
            seed=(seed + begun) % 2**32, n_startup_trials=_RANDOM, constant_liar=True
        )
        return study


def _conclude(console: Console, first: SweepPlan, study: optuna.Study, fixed: list[str]) -> SearchResult | None:
    """Print the best trials and plot all of them."""
    from dlzoo.metrics import plots
    from dlzoo.runs.figures import write_png

    done = study.get_trials(states=(TrialState.COMPLETE,))
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    parts = {"finished": TrialState.COMPLETE, "given up": TrialState.PRUNED, "failed": TrialState.FAIL}
    counted = ", ".join(f"{states.count(state)} {name}" for name, state in parts.items() if state in states)
    console.print(Text(f"{len(states)} trials: {counted}"), soft_wrap=True)
    if not done:
        return None
    maximise = study.direction == StudyDirection.MAXIMIZE
    best = sorted(done, key=_value, reverse=maximise)
    run = plan_trial([*fixed, f"name={first.name}"], best[0].params).runs[0].path
    row = Row.of(run)
    for trial in best[:10]:
        console.print(
            Text(f"  val {_value(trial):.4f}{row.samples}  {' '.join(settings_of_trial(trial.params))}"), soft_wrap=True
        )
    everything = study.get_trials(deepcopy=False)
    values = [trial.value if trial.state == TrialState.COMPLETE else None for trial in everything]
    settings = {key: [_place(trial, key) for trial in everything] for key in best[0].params}
    write_png(plots.trials(values, settings, first.name, maximise=maximise), first.folder / "tune.png")
    console.print(Text(f"best        {run}: {row.metric}"), soft_wrap=True)
    console.print(Text(f"plot        {first.folder / 'tune.png'}"), soft_wrap=True)
    again = [word for word in fixed if word.partition(".")[0].partition("=")[0] not in ("executor", "sweep", "name")]
    console.print(
        Text(f"next        python train.py {shlex.join([*again, *settings_of_trial(best[0].params)])}"), soft_wrap=True
    )
    return SearchResult(settings_of_trial(best[0].params), _value(best[0]), run)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _place(trial: FrozenTrial, key: str) -> float | str | None:
    value = trial.params.get(key)
    return float(value) if isinstance(value, (int, float)) else value
