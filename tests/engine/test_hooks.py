"""Hooks: what happens beside a training never changes or ends it."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

import dlzoo
from dlzoo.cli import main
from dlzoo.core import own_parts
from dlzoo.core.errors import Interrupted, Note, UserError
from dlzoo.core.registries import HOOKS
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL, logged, same, train, weights


@pytest.fixture
def register() -> Iterator[Callable[[str, Any], None]]:
    """Registers hooks for the test."""
    names = []

    def add(name: str, builder: Any) -> None:
        HOOKS.register(name)(builder)
        names.append(name)

    yield add
    for name in names:
        del HOOKS._own[""][name]
    own_parts.count_registration()


def table(run: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv, without empty cells."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def stopped(monkeypatch: pytest.MonkeyPatch, *words: str) -> RunDir:
    """A run that got SIGTERM in its first validation."""
    on_end = TaskModule.on_validation_epoch_end

    def stop(self: TaskModule) -> None:
        on_end(self)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_validation_epoch_end", stop)
        with pytest.raises(Interrupted):
            train(*SMALL, *words, "run_dir=run")
    return RunDir.open("run")


def test_csv_has_what_the_log_has(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("hooks=[csv]", "trainer.log_every=2")
    whole = train(*SMALL, *words)
    assert table(whole.dir) == read_metrics(whole.dir / "metrics.jsonl")
    assert json.loads((whole.dir / "hooks" / "csv.json").read_text())["ended"] == "finished"
    assert not [*whole.dir.glob("events.*")]  # the list was replaced
    stopped(monkeypatch, *words)
    resumed = train("resume=run")
    assert table(resumed.dir) == read_metrics(resumed.dir / "metrics.jsonl")
    assert logged(resumed.dir) == logged(whole.dir)


def test_hooks_change_no_training(register: Callable[[str, Any], None]) -> None:
    class Failing(dlzoo.Hook):
        def log(self, record: Any) -> None:
            raise ValueError("no disk, no cloud")

    register("failing", lambda: Failing())
    with pytest.warns(
        Note, match=r"hook failing failed in log: .*test_hooks\.py:\d+: ValueError: no disk, no cloud; it is"
    ):
        failed = train(*SMALL, "hooks=[failing]")
    none = train(*SMALL, "hooks=[]")
    assert same(weights(failed), weights(none)) and logged(failed.dir) == logged(none.dir)
    assert same(weights(none), weights(train(*SMALL)))


def test_each_event_is_called(register: Callable[[str, Any], None]) -> None:
    seen: list[str] = []

    class Watching(dlzoo.Hook):
        def __init__(self, *, run_dir: Path, config: Any, mark: str = "x") -> None:
            assert config["hook"]["watching"]["mark"] == mark == "y" and run_dir.is_dir()

        def fit_start(self, start: Any) -> None:
            seen.append(f"start {start.step}")

        def epoch_end(self, step: int) -> None:
            seen.append(f"epoch {step}")

        def checkpoint(self, path: Path) -> None:
            assert path.is_file()
            seen.append("checkpoint")

        def fit_end(self, metrics: Any) -> None:
            seen.append(f"end {len(metrics) > 3}")

    register("watching", Watching)
    run = train(*SMALL, "hooks=[watching]", "hook.watching.mark=y")
    steps = RunDir.open(run.dir).read()["steps_per_epoch"]
    assert [word for word in seen if word != "checkpoint"] == [
        "start 0",
        *(f"epoch {steps * epoch}" for epoch in (1, 2, 3)),
        "end True",
    ]
    assert "checkpoint" in seen


def test_a_lightning_callback_is_a_hook(register: Callable[[str, Any], None]) -> None:
    losses: list[float] = []

    class Losses(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            losses.append(float(trainer.callback_metrics["train/loss"]))

    register("losses", lambda: Losses())
    run = train(*SMALL, "hooks=[losses]")
    assert losses == [r["train/loss"] for r in logged(run.dir) if "train/loss" in r]
    assert RunDir.open(run.dir).read()["callbacks"] == ["hook losses"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hooks=[cvs]"], "unknown hook 'cvs'; did you mean 'csv'?"),
        (["hooks=csv"], r"hooks must be a list, .* type 'hooks=\[csv\]'"),
        (["hooks=[csv,csv]"], "hooks lists csv twice"),
        (["hook=csv"], r"hook is 'csv', but takes settings .* did you mean hooks=\[csv\]"),
        (["hook.csv.path=a.csv"], r"hook.csv.path is set, but hooks=\[tensorboard\] does not choose csv"),
        (["hooks=[csv]", "hook.csv.file=a.csv"], "the hook csv has no such setting"),
        (["hooks=[csv]", "hook.csv.path=../a.csv"], "must be a new file in the run directory"),
        (["hooks=[csv]", "hook.csv.path=run.json"], "must be a new file in the run directory"),
        (["hook.path=a.csv"], "did you mean hook.csv.path"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=says):
        train(*SMALL, *words)
    assert main([*SMALL, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_no_hook_is_refused(register: Callable[[str, Any], None]) -> None:
    register("nothing", lambda: 3)
    with pytest.raises(UserError, match=r"hook nothing: its builder returned 3, not a dlzoo\.Hook"):
        train(*SMALL, "hooks=[nothing]")

    def wants(*, weather: str) -> dlzoo.Hook:
        return dlzoo.Hook()

    register("wants", wants)
    with pytest.raises(UserError, match=r"hook wants: its arguments weather need a default; only config, run_dir"):
        train(*SMALL, "hooks=[wants]")
