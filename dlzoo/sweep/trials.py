"""Run the trials of a search, and report their results to Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row
from dlzoo.sweep.check import existing_states
from dlzoo.sweep.display import SweepDisplay
from dlzoo.sweep.plan import SweepPlan, plan
from dlzoo.sweep.request import SweepRequest
from dlzoo.sweep.scheduler import Scheduler, create
from dlzoo.sweep.search_space import Space, settings_of_trial

#: Prefix of the error of a pruned run.
_GIVEN_UP = "given up after"


class Search:
    """Submit trials as runs to a scheduler, and report their results to Optuna.

    Args:
        example: a config of this search, to ask the scheduler for room.
        stride: validations between two reports.
    """

    def __init__(
        self,
        study: optuna.Study,
        fixed: list[str],
        space: Space,
        example: dict[str, Any],
        stride: int,
        scheduler: Scheduler,
        display: SweepDisplay,
    ) -> None:
        self._study, self._fixed, self._space, self._example = study, fixed, space, example
        self._stride, self._scheduler, self._display = stride, scheduler, display
        #: Run -> its trials; trials with equal settings share a run.
        self._trials: dict[Path, list[Trial]] = {}
        self._reported: dict[Path, int] = {}
        self._best = max if study.direction == StudyDirection.MAXIMIZE else min

    def run(self, trials: int) -> None:
        """Run until this number of trials has ended, including those of earlier starts."""
        for old in self._study.get_trials(states=(TrialState.RUNNING,)):
            if set(old.params) == set(self._space):  # an earlier start was killed
                self._begin(Trial(self._study, old._trial_id))
            else:  # killed before all its settings were suggested
                self._study.tell(old.number, state=TrialState.FAIL)
        while self._trials or self._ended() < trials:
            begun = self._ended() + sum(map(len, self._trials.values()))
            if begun < trials and self._scheduler.has_room(self._example):
                self._begin(self._study.ask(self._space))
            for row in self._scheduler.poll():
                for trial in self._trials.pop(row.path):
                    self._tell(trial, row)
            for path in self._scheduler.active:
                self._report(path)

    def _ended(self) -> int:
        ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return len(self._study.get_trials(deepcopy=False, states=ended))

    def _begin(self, trial: Trial) -> None:
        """Submit the run of a trial, unless another trial has the same run."""
        try:
            (planned,) = plan_trial(self._fixed, trial.params).runs
            existing_states([planned])
            create([planned])
        except UserError as error:  # settings that do not go together
            self._study.tell(trial, state=TrialState.FAIL)
            self._display.line(f"failed      {_label(trial)}  {error}")
            return
        if planned.path not in self._trials:
            self._scheduler.add(planned, _label(trial))
        self._trials.setdefault(planned.path, []).append(trial)
        before = self._study.trials[trial.number].intermediate_values
        self._reported[planned.path] = max(before, default=0)

    def _report(self, path: Path) -> None:
        """Report a run's new validation results to Optuna, and prune the run if Optuna says so."""
        from dlzoo.runs.logged import read_metrics

        key = f"val/{Row.of(path).record.get('monitor')}"
        results = [line[key] for line in read_metrics(RunDir(path).metrics_file) if line.get(key) is not None]
        trial = self._trials[path][0]
        news = [count for count in range(self._stride, len(results) + 1, self._stride) if count > self._reported[path]]
        for count in news:
            trial.report(self._best(results[:count]), count)
            self._reported[path] = count
        if news and trial.should_prune():
            self._scheduler.give_up(
                path, f"{_GIVEN_UP} {len(results)} validations: worse than the median of the others"
            )

    def _tell(self, trial: Trial, row: Row) -> None:
        """Tell Optuna how a run has ended: finished with a result, pruned, or failed."""
        measured = _result(row.record) if row.state == "finished" else None
        if measured is not None:
            self._study.tell(trial, measured)
        elif row.error.startswith(_GIVEN_UP):
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def _label(trial: Trial) -> str:
    return f"trial {trial.number}  {' '.join(settings_of_trial(trial.params))}"


def _result(record: dict[str, Any]) -> float | None:
    """Return the validation result of the weights that a finished run selected."""
    return record["metrics"].get(f"val/{record['monitor']}")


def plan_trial(fixed: Sequence[str], values: dict[str, Any]) -> SweepPlan:
    """Plan the run of a trial, as a sweep of one run."""
    named = any(line.startswith("name=") for line in fixed)
    name = [] if named else ["name=" + "-".join(["tune", *sorted(key.rpartition(".")[2] for key in values)])]
    return plan(SweepRequest([*fixed, *name, *settings_of_trial(values)], factors=tuple(values)))
