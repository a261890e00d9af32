"""Hooks of a run: what they are told, what becomes of their errors, and what the config says of them."""

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
import yaml

import dlzoo
from dlzoo import config as configs
from dlzoo.cli import main
from dlzoo.core import own_parts
from dlzoo.core.errors import Interrupted, Note, UserError
from dlzoo.core.registries import HOOKS
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.differences import flatten
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.processes import dlzoo as dlzoo_in_process
from tests.small import SMALL, logged, same, train, weights

QUICK = [*(word for word in SMALL if "epochs" not in word), "trainer.max_epochs=2", "trainer.log_every=2"]

OWN = '''
from pathlib import Path
import dlzoo
from pytorch_lightning import Callback

@dlzoo.HOOKS.register("diary")
class Diary(dlzoo.Hook):
    """Write each event to a file."""

    def __init__(self, *, run_dir: Path) -> None:
        self.path = run_dir / "diary.txt"

    def write(self, *words) -> None:
        with self.path.open("a") as file:
            print(*words, file=file)

    def fit_start(self, start):
        self.write("fit_start", start.step, len(start.records))

    def log(self, record):
        self.write("log", record["step"])

    def epoch_end(self, step):
        self.write("epoch_end", step)

    def checkpoint(self, path):
        self.write("checkpoint", path.name, path.exists())

    def fit_end(self, metrics):
        self.write("fit_end", "test/accuracy" in metrics)

    def exception(self, error):
        self.write("exception", type(error).__name__)

@dlzoo.HOOKS.register("fails")
class Fails(dlzoo.Hook):
    """Fail in an event."""

    def __init__(self, *, event: str = "log", ends: bool = False) -> None:
        setattr(self, event, self.fail)
        self.error = SystemExit if ends else ValueError

    def fail(self, *words):
        with Path("attempts").open("a") as file:
            file.write("x")
        raise self.error("out of paper")

@dlzoo.HOOKS.register("spy")
class Spy(Callback):
    """Say on which ranks it was called."""

    def __init__(self, *, run_dir: Path, every: int = 1) -> None:
        self.folder = run_dir

    def on_train_epoch_end(self, trainer, module):
        with (self.folder / f"spy{trainer.global_rank}.txt").open("a") as file:
            file.write("x")

@dlzoo.HOOKS.register("unbuilt")
def unbuilt():
    return 1 / 0

@dlzoo.HOOKS.register("odd")
def odd():
    """No hook."""
    return 3

@dlzoo.HOOKS.register("greedy")
def greedy(*, network):
    """Ask for something."""
    return dlzoo.Hook()
'''


@pytest.fixture
def own(tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("own.py").write_text(OWN)
    return "parts=./own.py"


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
            train(*words, "run_dir=run")
    return RunDir.open("run")


def test_csv_has_what_the_log_has(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("hooks=[csv]", "trainer.log_every=2")
    whole = train(*SMALL, *words)
    assert table(whole.dir) == read_metrics(whole.dir / "metrics.jsonl")
    assert json.loads((whole.dir / "hooks" / "csv.json").read_text())["ended"] == "finished"
    assert not [*whole.dir.glob("events.*")]  # the list was replaced
    stopped(monkeypatch, *SMALL, *words)
    resumed = train("resume=run")
    assert table(resumed.dir) == read_metrics(resumed.dir / "metrics.jsonl")
    assert logged(resumed.dir) == logged(whole.dir)


def test_a_lightning_callback_is_a_hook(register: Callable[[str, Any], None]) -> None:
    losses: list[float] = []

    class Losses(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            losses.append(float(trainer.callback_metrics["train/loss"]))

    register("losses", lambda: Losses())
    run = train(*SMALL, "hooks=[losses]")
    assert losses == [r["train/loss"] for r in logged(run.dir) if "train/loss" in r]
    assert RunDir.open(run.dir).read()["callbacks"] == ["hook losses"]


def test_a_hook_is_told_what_happens(own: str) -> None:
    run = train(own, *QUICK, "hooks=[diary]").dir
    lines = (run / "diary.txt").read_text().splitlines()
    steps = [f"log {record['step']}" for record in read_metrics(run / "metrics.jsonl")]
    assert [line for line in lines if line.startswith("log")] == steps
    assert lines[0] == "fit_start 0 0"
    epoch, total = 5, 10
    assert [line for line in lines if line.startswith("epoch")] == [f"epoch_end {epoch}", f"epoch_end {total}"]
    assert lines.index(f"epoch_end {epoch}") > lines.index(f"log {epoch}")
    assert {"checkpoint last.ckpt True", "checkpoint best.ckpt True"} <= {*lines}
    assert lines[-1] == "fit_end True"
    assert not [*run.glob("events*")]


def test_a_hook_is_told_of_a_failure(own: str) -> None:
    with pytest.raises(UserError, match="not finite"):
        train(own, *QUICK, "hooks=[diary]", "optimizer.lr=1e30", "trainer.clip_norm=null", "run_dir=bad")
    assert Path("bad/diary.txt").read_text().splitlines()[-1] == "exception UserError"


@pytest.mark.parametrize(
    ("event", "error"),
    [*((event, "ValueError") for event in ("fit_start", "log", "epoch_end", "checkpoint", "fit_end")),
     ("log", "SystemExit")],
)  # fmt: skip
def test_a_hook_that_raises_is_switched_off_and_the_training_goes_on(own: str, event: str, error: str) -> None:
    place = rf"own\.py:\d+: {error}: out of paper"
    with pytest.warns(Note, match=f"hook fails failed in {event}: .*{place}; it is switched off, the training goes on"):
        ends = f"hook.fails.ends={str(error == 'SystemExit').lower()}"
        disturbed = train(own, *QUICK, "hooks=[fails,diary]", f"hook.fails.event={event}", ends)
    assert Path("attempts").read_text() == "x"
    assert (disturbed.dir / "diary.txt").read_text().splitlines()[-1] == "fit_end True"
    assert RunDir(disturbed.dir).read()["state"] == "finished"


def test_hooks_change_no_result_and_no_comparison(own: str) -> None:
    usual = train(*QUICK)
    others = [train(*QUICK, "hooks=[]"), train(own, *QUICK, "hooks=[csv,diary,spy]")]
    assert [*usual.dir.glob("events*")]
    for other in others:
        assert same(weights(usual), weights(other))
        assert logged(usual.dir) == logged(other.dir)
        assert flatten(RunDir(usual.dir).read()["config"]) == flatten(RunDir(other.dir).read()["config"])


def test_the_frozen_config_has_the_settings_of_the_chosen_hooks() -> None:
    assert "hook" not in configs.compose([])
    config = configs.compose(["hooks=[csv,tensorboard]", "hook.csv.path=all.csv"])
    assert (config["hooks"], config["hook"]) == (["csv", "tensorboard"], {"csv": {"path": "all.csv"}})
    assert configs.finalise(config) == config
    Path("mine.yaml").write_text("# @package _global_\nhooks: [csv]\nhook: {csv: {path: other.csv}}\n")
    assert configs.compose(["experiment=./mine.yaml"])["hook"] == {"csv": {"path": "other.csv"}}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("hooks=csv", "hooks must be a list, each a word, not 'csv'; type 'hooks=[csv]'"),
        ("hooks=[csvv]", "unknown hook 'csvv'; did you mean hooks=[csv]?"),
        ("hooks=[csv,csv]", "hooks lists csv twice"),
        ("hook.csv.path=x.csv", "hook.csv.path is set, but hooks=[tensorboard] does not choose csv; set "
         "hooks=[tensorboard,csv]"),
        ("hooks=[csv] hook.csv.pth=x", "unknown key 'hook.csv.pth': the hook csv has no such setting; did you mean"
         " hook.csv.path=x?"),
        ("hooks=[csv] hook.csv.path=run.json", "hook.csv.path=run.json: it must be the name of a file in the run"
         " directory that ends with .csv, such as metrics.csv"),
        ("hooks=[csv] hook.csv.path=../x.csv", "hook.csv.path=../x.csv: it must be the name of a file"),
        ("hooks=[csv] hook.csv.path=hooks", "hook.csv.path=hooks: it must be the name of a file"),
        ("hooks=[csv] hook.csv=x", "hook.csv is 'x', but must have settings, such as hook.csv.path=..."),
        ("hook.path=x", "unknown key 'hook.path': did you mean hooks=[tensorboard,csv] hook.csv.path=x?"),
        ("hook=csv", "hook is 'csv', but takes settings as in hook.csv.path=metrics.csv; did you mean hooks=[csv]?"),
        ("logger=csv", "unknown key 'logger'; loggers and callbacks are hooks: hooks=[tensorboard,csv]"),
        ("-m hooks=[csv],[]", "hooks has several values, but does not change a result"),
        ("-m seed=1,2 hooks=[csv] hook.csv.path=a,b", "hook.csv.path has several values, but does not change"),
        ("hooks=[unbuilt]", "own.py:61: ZeroDivisionError: division by zero"),
        ("hooks=[odd]", "hook odd: its builder returned 3, not a dlzoo.Hook or a Lightning callback"),
        ("hooks=[greedy]", "hook greedy: its arguments network need a default; only config, run_dir are injected"),
        ("hooks=[spy] hook.spy.every=x", "hook.spy.every must be an integer, not 'x'"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_one_line(own: str, words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", own, *QUICK, *words.split()]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error
    assert not [*Path("outputs").glob("*/run.json")] and not [*Path("outputs").glob("*/*/run.json")]


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_package_that_is_not_installed_is_named_before_the_training(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dlzoo.engine.hooks.build.find_spec", lambda name: None)
    for several in ([], ["-m", "seed=0,1"]):
        assert main(["train", *several, *QUICK, f"hooks=[{package}]"]) == 2
        assert f"needs the package {package}: pip install 'dlzoo[{package}]'" in capsys.readouterr().err
    assert not [*Path("outputs").glob("*")]


def test_a_folder_without_hooks_in_its_config_is_read() -> None:
    run = RunDir(train(*QUICK).dir)
    for file, load, dump in (
        (run.config_file, yaml.safe_load, yaml.safe_dump),
        (run.state_file, json.loads, json.dumps),
    ):
        content: Any = load(file.read_text())
        del (content["config"] if file == run.state_file else content)["hooks"]
        file.write_text(dump(content))
    assert configs.read(run.config_file)["hooks"] == ["tensorboard"]
    assert main(["eval", str(run.path)]) == 0
    assert main(["run", str(run.path)]) == 0


def test_hooks_may_change_when_a_run_resumes_but_not_those_that_take_part_in_it(
    own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(monkeypatch, own, *QUICK, "hooks=[tensorboard,spy]")
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("- spy\n", "").replace("hook:\n  spy:\n    every: 1\n", ""))
    with pytest.raises(UserError, match=r"Lightning callbacks were \['spy'\] when the run started, and are none now"):
        train(f"resume={run.path}")
    run.config_file.write_text(text.replace("- tensorboard\n", "- csv\n"))
    train(f"resume={run.path}")
    assert read_metrics(run.metrics_file)[-1]["step"] == 10
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 1 + len(read_metrics(run.metrics_file))


def test_ranks_share_callbacks_and_one_of_them_logs(own: str) -> None:
    dlzoo_in_process("train", own, *QUICK, "hooks=[csv,spy,diary]", "trainer.devices=2", "run_dir=two", fork=True)
    assert [Path(f"two/spy{rank}.txt").read_text() for rank in (0, 1)] == ["xx", "xx"]
    assert Path("two/diary.txt").read_text().count("epoch_end") == 2
    assert len(Path("two/metrics.csv").read_text().splitlines()) == 1 + len(read_metrics(Path("two/metrics.jsonl")))


def test_the_runs_of_a_sweep_have_its_hooks_and_the_same_addresses(own: str) -> None:
    words = ["train", "-m", own, "name=both", "seed=0,1", *QUICK]
    dlzoo_in_process(*words, "hooks=[csv]", one_process=True)
    runs = sorted(Path("outputs/both").glob("*/metrics.csv"))
    assert len(runs) == 2
    assert "2 runs: 2 finished" in dlzoo_in_process(*words, "hooks=[]", one_process=True)


def test_the_command_line_knows_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        assert main([*words]) == 0
        return capsys.readouterr().out

    assert printed("list", "hook").split() == ["csv", "display", "mlflow", "tensorboard", "wandb"]
    assert "hooks=[csv]\n" in (shown := printed("show", "hook", "csv")) and "  hook.csv.path=metrics.csv" in shown
    assert "hook.mlflow.experiment" in (text := printed("--help")) and "csv, display, mlflow" in text
    assert printed("completion", "--line", "dlzoo train hooks=[csv,ml").split() == ["[csv,mlflow"]
    assert "hook.csv.path=" in printed("completion", "--line", "dlzoo train hooks=[csv] hook.").split()
    assert dlzoo.available("hook") == ["csv", "display", "mlflow", "tensorboard", "wandb"]
