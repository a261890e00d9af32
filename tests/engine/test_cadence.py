"""When a run ends, validates and saves: each setting is exact on resume, wherever the run was stopped or killed."""

from __future__ import annotations

import math
import os
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from dlzoo.builder import execute as execution
from dlzoo.config import compose
from dlzoo.core.errors import Interrupted
from dlzoo.engine.state import Best
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.classification.metrics import ClassificationEvaluation
from tests.processes import Command, fork_runs
from tests.small import SMALL, logged, same, train, weights

#: Five steps an epoch.
STEPS = [*SMALL, "trainer.log_every=3"]
CADENCES = {
    "max_steps": ["trainer.max_steps=13", "schedule=cosine"],
    "validate_every_epochs": ["trainer.validate_every_epochs=2", "schedule=plateau", "schedule.patience=0"],
    "validate_every_steps": [
        "trainer.validate_every_steps=4",
        "trainer.checkpoint_every=2",
        "trainer.early_stopping=2",
    ],
    "keep": ["trainer.keep_every=1", "trainer.keep_best=2", "optimizer.lr=0.5"],
    "monitor": ["trainer.monitor=calibration_error", "trainer.ema=0.9"],
}


def outcome(run: Path) -> dict[str, Any]:
    """Return all that must not depend on where a run was stopped: its checkpoints, its log and its record."""
    saved = {}
    for path in sorted((run / "checkpoints").iterdir()):
        content = torch.load(path, weights_only=True)
        task = {key: value for key, value in content["task"].items() if not key.endswith("_seconds")}
        task["latest"] = {key: value for key, value in task["latest"].items() if key != "images_per_second"}
        weights = {key: value.numpy().tobytes() for key, value in content["state_dict"].items()}
        saved[path.name] = (weights, str(task), str(content["optimizer_states"]), content["epoch"])
    record = RunDir.open(run).read()
    kept = ("state", "metrics", "steps", "selected_epoch", "monitor", "kept_best")
    return {"checkpoints": saved, "log": logged(run), "record": {key: record.get(key) for key in kept}}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return the outcome of a run with a cadence that nothing stops; each is trained once."""

    @cache
    def outcome_of(cadence: str) -> dict[str, Any]:
        return outcome(train(*STEPS, *CADENCES[cadence], f"run_dir={tmp_path_factory.mktemp('run') / 'whole'}").dir)

    return outcome_of


@pytest.mark.parametrize("stop_at", [5, 8, 13])
@pytest.mark.parametrize("cadence", CADENCES)
def test_a_run_that_is_stopped_ends_as_one_that_is_not(
    cadence: str, stop_at: int, undisturbed: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [*STEPS, *CADENCES[cadence]]
    step = TaskModule._step

    def stopping(self: TaskModule, at: int) -> None:
        step(self, at)
        if at + 1 == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "_step", stopping)
        with pytest.raises(Interrupted):
            train(*settings, "run_dir=stopped")
    resumed = execution.execute(RunDir.open("stopped"))
    assert outcome(resumed.path) == undisturbed(cadence)


@pytest.mark.parametrize("cadence", CADENCES)
def test_a_run_that_is_killed_between_two_files_ends_as_one_that_is_not(
    cadence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the folder before each change of its checkpoints is what a kill -9 would leave there."""
    copies: list[RunDir] = []

    def copying(name: str) -> None:
        change = getattr(os, name)

        def changed(*words: Any, **more: Any) -> None:
            if str(words[-1]).endswith(".ckpt"):
                path = Path(f"killed_{len(copies)}")
                shutil.copytree("whole", path, ignore=shutil.ignore_patterns(".*.tmp", ".lock"))
                copies.append(RunDir(path))
            change(*words, **more)

        patch.setattr(os, name, changed)

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink"):
            copying(name)
        whole = train(*STEPS, *CADENCES[cadence], "run_dir=whole")
    assert copies
    expected = outcome(whole.dir)
    for run in copies:
        assert run.read()["state"] == "interrupted"
        assert outcome(execution.execute(run).path) == expected, run.path


def validated(*settings: str) -> list[int]:
    return [record["step"] for record in logged(train(*STEPS, *settings).dir) if "val/accuracy" in record]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (["trainer.validate_every_epochs=2"], [10, 15]),
        (["trainer.validate_every_epochs=9"], [15]),
        (["trainer.validate_every_steps=6"], [6, 12, 15]),
        (["trainer.validate_every_steps=5"], [5, 10, 15]),
        (["trainer.validate_every_steps=6", "trainer.max_steps=14"], [6, 12, 14]),
        (["trainer.validate_every_steps=1", "trainer.max_steps=3"], [1, 2, 3]),
    ],
    ids=str,
)
def test_a_run_is_validated_when_it_should_be_and_at_its_end(settings: list[str], steps: list[int]) -> None:
    assert validated(*settings) == steps


@pytest.mark.parametrize("every", [["trainer.validate_every_epochs=2"], ["trainer.validate_every_steps=3"]], ids=str)
def test_early_stopping_and_plateau_count_validations(every: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, *[0.4] * 99])
    compute = ClassificationEvaluation.compute
    monkeypatch.setattr(
        ClassificationEvaluation, "compute", lambda self: compute(self) | {"accuracy": next(scores, 0.0)}
    )
    settings = ["trainer.max_epochs=40", "trainer.early_stopping=4", "schedule=plateau", "schedule.patience=1"]
    run = train(*STEPS, *every, *settings)
    period = 10 if "epochs" in every[0] else 3
    records = logged(run.dir)
    assert [each["step"] for each in records if "val/accuracy" in each] == [period * n for n in (1, 2, 3, 4, 5)]
    assert RunDir.open(run.dir).read()["steps"] == 5 * period
    rates = {each["step"]: each["lr"] for each in records if "lr" in each}
    assert [rate for step, rate in rates.items() if step <= 3 * period] == [0.1] * len(
        [step for step in rates if step <= 3 * period]
    )
    assert all(rate == pytest.approx(0.01) for step, rate in rates.items() if step > 3 * period + 2)


@pytest.mark.parametrize(
    ("typed", "name", "best"), [("val/loss", "loss", min), ("f1", "f1_macro", max), ("val/f1_macro", "f1_macro", max)]
)
def test_the_best_is_that_of_the_monitored_metric(typed: str, name: str, best: Any) -> None:
    run = train(
        *STEPS, f"trainer.monitor={typed}", "trainer.max_epochs=30", "optimizer.lr=3", "trainer.early_stopping=4"
    )
    record, records = RunDir.open(run.dir).read(), logged(run.dir)
    values = [each[f"val/{name}"] for each in records if f"val/{name}" in each]
    assert record["monitor"] == name
    assert record["metrics"][f"val/{name}"] == best(values)
    assert values[int(record["selected_epoch"]) - 1] == best(values)
    assert len(values) < 30
    assert values.index(best(values)) == len(values) - 5  # stopped after four validations without a better value


def test_the_metric_of_the_task_is_the_default() -> None:
    assert outcome(train(*STEPS, "trainer.monitor=val/accuracy").dir) == outcome(train(*STEPS).dir)


def test_plateau_lowers_the_rate_where_the_monitored_metric_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8])
    compute = ClassificationEvaluation.compute
    monkeypatch.setattr(ClassificationEvaluation, "compute", lambda self: compute(self) | {"loss": next(values, 0.0)})
    words = ["trainer.monitor=loss", "schedule=plateau", "schedule.patience=0", "trainer.max_epochs=5"]
    run = train(*STEPS, *words)
    rates = [each["lr"] for each in logged(run.dir) if "lr" in each and each["step"] % 5 == 0]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])


def test_a_score_that_is_not_a_number_is_the_worst() -> None:
    first = Best.after(None, math.nan, 5)
    assert Best.after(first, 0.0, 10) == Best.after(None, 0.0, 10)
    assert Best.after(Best(0.0, 5, 5), math.nan, 10) == Best(0.0, 5, 5)


def saved(run: Path) -> dict[str, int]:
    """Return checkpoint -> its step."""
    files = sorted((run / "checkpoints").iterdir())
    return {path.name: torch.load(path, weights_only=True)["task"]["clock"] for path in files}


def test_a_copy_of_every_second_epoch_is_kept_and_can_be_trained_on() -> None:
    settings = [*STEPS, "schedule=constant", "data.val_fraction=0", "trainer.max_epochs=5"]
    run = train(*settings, "trainer.keep_every=2", "trainer.max_steps=22", "run_dir=run")
    assert saved(run.dir) == {"epoch_0002.ckpt": 10, "epoch_0004.ckpt": 20, "last.ckpt": 22}
    shorter = train(*settings, "trainer.max_epochs=2", "run_dir=shorter")
    kept = torch.load(run.dir / "checkpoints" / "epoch_0002.ckpt", weights_only=True)["state_dict"]
    assert same(kept, weights(shorter))
    further = train(*settings, "trainer.max_epochs=1", "init_from=run/checkpoints/epoch_0002.ckpt")
    assert RunDir.open(further.dir).read()["init_from"] == "run/checkpoints/epoch_0002.ckpt, head included"


@pytest.mark.parametrize("typed", ["accuracy", "loss"])
@pytest.mark.parametrize("every", ["trainer.validate_every_epochs=1", "trainer.validate_every_steps=3"])
def test_the_checkpoints_of_the_best_validations_are_kept(typed: str, every: str) -> None:
    settings = ["trainer.max_epochs=6", "trainer.keep_best=3", "optimizer.lr=2", f"trainer.monitor={typed}", every]
    run = train(*STEPS, *settings)
    key, sign = f"val/{typed}", -1 if typed == "loss" else 1
    values = {each["step"]: each[key] for each in logged(run.dir) if key in each}
    ranked = sorted(values, key=lambda step: (sign * values[step], step), reverse=True)[:3]
    names = {step: f"best_step_{step:06d}.ckpt" if step % 5 else f"best_epoch_{step // 5:04d}.ckpt" for step in ranked}
    last = max(values)
    expected = {names[step]: step for step in ranked} | {"best.ckpt": ranked[0], "last.ckpt": last}
    assert saved(run.dir) == expected
    assert list(RunDir.open(run.dir).read()["kept_best"].items()) == [(names[step], values[step]) for step in ranked]
    files = run.dir / "checkpoints"
    assert (files / names[ranked[0]]).samefile(files / "best.ckpt")


def test_only_checkpoints_that_were_among_the_best_are_deleted() -> None:
    folder = RunDir.create(Path("run"), compose([*STEPS, "trainer.keep_best=1"])).path / "checkpoints"
    mine = folder / "best_mine.ckpt"
    mine.write_text("")
    execution.execute(RunDir.open("run"))
    assert {path.name for path in folder.glob("best_*")} == {*RunDir.open("run").read()["kept_best"], mine.name}


KILLED = """
import os, signal, sys
from dlzoo.cli import main
from dlzoo.engine.task_module import TaskModule
where, step = sys.argv[1:3], TaskModule._step
def killed(self, at):
    step(self, at)
    if [os.environ.get("RANK"), str(at + 1)] == where:
        os.kill(os.getpid(), signal.SIGKILL)
TaskModule._step = killed
sys.exit(main(["train", *sys.argv[3:]]))
"""


@pytest.mark.parametrize(("rank", "step"), [(1, 9), pytest.param(0, 12, marks=pytest.mark.long)])
def test_two_ranks_of_which_one_is_killed_end_as_if_it_was_not(
    rank: int, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = [word for name, words in CADENCES.items() if name != "validate_every_epochs" for word in words]
    alone = [*STEPS, *together, "trainer.threads=1"]
    settings = [word.replace("trainer=cpu", "trainer=ddp_cpu") for word in alone]
    killed = Command(str(rank), str(step), *settings, "run_dir=killed", code=KILLED, fork=True)
    _, errors = killed.communicate()
    assert f"rank {rank} was killed by SIGKILL" in errors
    fork_runs(monkeypatch)
    resumed = execution.execute(RunDir.open("killed"))
    assert outcome(resumed.path) == outcome(train(*settings, "run_dir=whole").dir)
