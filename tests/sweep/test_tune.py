"""The search for settings, and the learning-rate range test."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dlzoo.builder.lr_find import lr_find, steepest_rate
from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import find, rows
from tests.processes import fork_runs
from tests.small import SMALL

optuna = pytest.importorskip("optuna")

from dlzoo.sweep import tune as tuning  # noqa: E402
from dlzoo.sweep.search_space import settings_of_trial, split  # noqa: E402
from dlzoo.sweep.tune import tune  # noqa: E402

TINY = [*SMALL, "trainer.threads=1"]


def test_ranges_and_choices_are_read() -> None:
    fixed, space = split(
        [
            *("model=mlp", "optimizer.lr=log(0.001,1)", "norm=choice(bn,none)", "data.batch_size=interval(8,64)"),
            *("optimizer.weight_decay=uniform(0,0.1)", "seed=range(3)", "schedule.warmup=tag(log,interval(0.01,0.5))"),
        ]
    )
    assert fixed == ["model=mlp"]
    distributions = optuna.distributions
    assert space == {
        "optimizer.lr": distributions.FloatDistribution(0.001, 1, log=True),
        "norm": distributions.CategoricalDistribution(["bn", "none"]),
        "data.batch_size": distributions.IntDistribution(8, 64),
        "optimizer.weight_decay": distributions.FloatDistribution(0, 0.1),
        "seed": distributions.CategoricalDistribution(["0", "1", "2"]),
        "schedule.warmup": distributions.FloatDistribution(0.01, 0.5, log=True),
    }
    assert settings_of_trial({"optimizer.lr": 0.0123456789, "norm": "bn"}) == ["optimizer.lr=0.01235", "norm=bn"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model=mlp", "nothing to search"),
        ("optimizer.lr=log(0,1)", "is not a valid logarithmic range"),
        ("optimizer.lr=log(1,0.1)", "is not a valid logarithmic range"),
        ("optimizer.lr=log(a,1)", "is not a number"),
        ("optimizer.lr=log(1,inf)", "is not a valid logarithmic range"),
        ("optimizer.lr=loguniform(0.1,1)", "unknown 'loguniform'; available: log, uniform"),
        ("optimizer.lr=log(0.1,1) seed=range(3)", "would select the luckiest"),
        ("trainer.monitor=choice(loss,f1)", "is what the trials are compared by"),
        ("optimizer.lr=log(0.1,1) sweep.dir=a,b", "it applies to all runs and has one value"),
        ("optimizer.lr=log(0.1,1) name=a,b", "name has several values"),
        ("optimizer.lr=log(0.1,1) sweep.dry_run=true", "sweep.dry_run is for sweeps"),
        ("optimizer.lr=log(0.1,1) norm=choice(bn,gm)", "unknown norm 'gm'"),
        ("optimizer.lr=log(0.1,1) trials=0", "must be an integer from 1 to 1,000,000"),
        ("optimizer.lr=log(0.1,1) data.val_fraction=0", "needs a validation split"),
        ("optimizer.lr=log(0.1,1) norm=bm", "unknown norm"),
        ("optimizer.typo=log(0.1,1)", "unknown key 'optimizer.typo'"),
    ],
)
def test_a_mistake_is_one_line(line: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        tune([*SMALL, *line.split()], Console(quiet=True))
    assert not Path("outputs").exists()


@pytest.fixture
def tried_first(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which learning rates a search tries before it chooses for itself."""
    made = tuning._study

    def say(*rates: str) -> None:
        def study_of_these(*words: Any) -> optuna.Study:
            study = made(*words)
            for rate in () if study.trials else rates:
                study.enqueue_trial({"optimizer.lr": rate})
            return study

        monkeypatch.setattr(tuning, "_study", study_of_these)

    return say


def test_a_search_follows_the_monitored_metric_in_its_direction(
    tried_first: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    tried_first("1e-6", "0.2")
    words = ["optimizer.lr=choice(0.2,1e-6)", "trainer.monitor=val/loss", "name=low", "trials=2"]
    found = tune([*TINY, *words], Console(quiet=True))
    assert found is not None
    assert found.settings == ["optimizer.lr=0.2"]
    losses = {row.path: row.record["metrics"]["val/loss"] for row in rows(find(Path("outputs/low")))}
    assert found.value == losses[found.run] == min(losses.values()) < max(losses.values())
    study = optuna.load_study(study_name="dlzoo", storage="sqlite:///outputs/low/study.db")
    first = study.trials[1].intermediate_values
    assert list(first.values()) == sorted(first.values(), reverse=True)


def test_a_search_finds_the_best_by_validation_and_nan_is_a_failed_trial(
    tried_first: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    # Of three rates one learns, one hardly, and one gives a loss that is not finite.
    tried_first("1e30", "1e-6", "0.2", "0.2")
    words = ["optimizer.lr=choice(0.2,1e-6,1e30)", "trainer.clip_norm=null", "name=search", "trials=4"]
    found = tune([*TINY, *words, "trainer.max_epochs=6"], Console(quiet=True))
    assert found is not None
    assert found.settings == ["optimizer.lr=0.2"]
    record = RunDir.open(found.run).read()
    assert found.value == record["metrics"]["val/accuracy"]
    study = optuna.load_study(study_name="dlzoo", storage="sqlite:///outputs/search/study.db")
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert len(find(Path("outputs/search"))) == 3  # the same settings are the same run
    assert (Path("outputs/search") / "tune.png").stat().st_size > 10_000
    # The same line again has nothing left to do, and says the same.
    assert tune([*TINY, *words, "trainer.max_epochs=6"], Console(quiet=True)) == found


@pytest.mark.long
def test_a_search_that_is_killed_goes_on() -> None:
    words = [*TINY, "optimizer.lr=log(0.01,0.5)", "name=killed", "trials=4", "trainer.max_epochs=30"]
    command = [sys.executable, "-m", "dlzoo.cli", "tune", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(RunDir(path).read()["state"] == "finished" for path in find(Path.cwd())):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: json.loads((path / "run.json").read_text()).get("finished") for path in find(Path.cwd())}
    found = tune(words, Console(quiet=True))
    assert found is not None
    study = optuna.load_study(study_name="dlzoo", storage="sqlite:///outputs/killed/study.db")
    assert [trial.state.name for trial in study.trials].count("RUNNING") == 0
    assert len(study.trials) == 4
    assert len(find(Path("outputs"))) == 4
    for path, finished in before.items():
        if finished:
            assert RunDir(path).read()["finished"] == finished


@pytest.mark.long
def test_a_hopeless_trial_is_given_up(monkeypatch: pytest.MonkeyPatch, tried_first: Callable[..., None]) -> None:
    monkeypatch.setattr(tuning, "_RANDOM", 1)
    tried_first("0.2", "1e-07")
    words = ["optimizer.lr=choice(0.2,1e-7)", "name=hopeless", "trials=2", "executor.workers=1"]
    longer = ["data.limit=1000", "data.batch_size=10", "trainer.max_epochs=150"]
    found = tune([*TINY, *words, *longer], Console(quiet=True))
    assert found is not None
    assert found.settings == ["optimizer.lr=0.2"]
    study = optuna.load_study(study_name="dlzoo", storage="sqlite:///outputs/hopeless/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    (given_up,) = (row for row in rows(find(Path("outputs"))) if row.state != "finished")
    assert "worse than the median of the others" in given_up.error
    assert 30 * 100 <= given_up.steps[0] < 150 * 100  # not before a fifth, and long before the end


def test_the_range_test_finds_where_the_loss_falls() -> None:
    found = lr_find([*SMALL, "trainer.clip_norm=null"], Console(quiet=True))
    assert 1e-3 < found.suggestion < 5
    assert found.losses[0] > min(found.losses)
    assert len(found.rates) == len(found.losses) <= 100
    assert math.isclose(found.rates[1] / found.rates[0], 1e7 ** (1 / 99))
    assert (found.dir / "lr_find.png").stat().st_size > 5_000
    assert json.loads((found.dir / "lr_find.json").read_text())["suggestion"] == found.suggestion


def test_the_steepest_fall_is_that_of_a_known_curve() -> None:
    rates = [10 ** (-6 + 0.07 * step) for step in range(100)]
    losses = [1 / (1 + math.exp(3 * (math.log10(rate) + 2))) + (rate > 0.2) * rate for rate in rates]
    assert abs(math.log10(steepest_rate(rates, losses)) + 2) < 0.08
    with pytest.raises(UserError, match="does not fall at any rate"):
        steepest_rate(rates, [1 + rate for rate in rates])


@pytest.mark.parametrize("name", ["which one?", "c%20d", "#1", "{a}", "a&b=c", "é 長", "[x]", "a:b@c"])
def test_a_study_is_in_its_folder_whatever_its_name(name: str) -> None:
    folder = Path(name, name)
    folder.mkdir(parents=True)
    optuna.create_study(storage=tuning.storage_in(folder / "study.db"))
    assert [path for path in Path().rglob("*") if path.is_file()] == [folder / "study.db"]
