"""Runs that are stopped, killed or damaged, and go on."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import torch

import dlzoo
from dlzoo.builder import execute as execution
from dlzoo.builder import results
from dlzoo.builder.evaluate import evaluate
from dlzoo.cli import main
from dlzoo.config import device
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.engine import checkpoints
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.conftest import draw_pictures
from tests.processes import Command
from tests.small import CONV, SMALL, logged, same, train, weights


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dlzoo.Run]:
    """Return a finished run with some settings; each is trained once."""
    return cache(lambda *overrides: train(*overrides, f"run_dir={tmp_path_factory.mktemp('run') / 'whole'}"))


@pytest.mark.parametrize(
    ("stop_at", "number", "settings"),
    [
        (1, signal.SIGINT, []),
        (4, signal.SIGTERM, []),
        (5, signal.SIGUSR1, []),
        (7, signal.SIGUSR1, []),
        (4, signal.SIGTERM, ["trainer.precision=fp16"]),
        (7, signal.SIGTERM, ["trainer.precision=fp16", "trainer.accumulate=2"]),
        (4, signal.SIGTERM, ["trainer.checkpoint_activations=true", "drop=dropout"]),
        (7, signal.SIGTERM, ["trainer.checkpoint_activations=true", "trainer.precision=fp16", "norm=cmbn"]),
    ],
)
def test_a_run_that_is_asked_to_stop_goes_on_to_the_same_end(
    undisturbed: Callable[..., dlzoo.Run],
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
    number: int,
    settings: list[str],
) -> None:
    # In fp16, a scale that is too large at first and then grows every third step.
    monkeypatch.setattr(device, "is_fast", lambda precision, *, gpu: True)
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**22, growth_interval=3)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    overrides = [*CONV, "trainer.ema=0.9", "trainer.log_every=3", *settings]
    whole = undisturbed(*overrides)
    step = TaskModule._step

    def stopping(self: TaskModule, at: int) -> None:
        step(self, at)
        if at + 1 == stop_at:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "_step", stopping)
        with pytest.raises(Interrupted, match=f"stopped after step {stop_at} of 10; resume with: dlzoo run stopped"):
            train(*overrides, "run_dir=stopped")
    run = RunDir.open("stopped")
    assert run.read()["state"] == "interrupted"
    assert torch.load(run.last_checkpoint, weights_only=True)["task"]["clock"] == stop_at
    resumed = execution.execute(run)
    assert same(weights(resumed), weights(whole))
    assert resumed.read()["metrics"] == whole.metrics

    assert logged(resumed.path) == logged(whole.dir)
    assert execution.execute(run).read()["metrics"] == whole.metrics  # finished: nothing is done again


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_test_is_an_interruption_and_nothing_is_logged_twice(
    monkeypatch: pytest.MonkeyPatch, number: int, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "test_step", lambda *_: os.kill(os.getpid(), number))
        assert main(["train", *SMALL, "run_dir=run"]) == 130
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors == ["dlzoo: stopped; resume with: dlzoo run run"]
    run = RunDir.open("run")
    assert run.read()["state"] == "interrupted"
    with monkeypatch.context() as patch:  # and once more, after the test was logged
        patch.setattr(results, "draw", lambda *_: os.kill(os.getpid(), number))
        assert main(["run", "run"]) == 130
    assert main(["run", "run"]) == 0
    assert run.read()["state"] == "finished"
    tested = [record for record in read_metrics(run.metrics_file) if "test/accuracy" in record]
    assert len(tested) == 1


def test_a_signal_whose_exception_is_dropped_stops_the_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what is raised inside a finaliser, and a signal may find us there."""

    starts = TaskModule.on_test_epoch_start

    def dropped(module: TaskModule) -> None:
        starts(module)
        with contextlib.suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_test_epoch_start", dropped)
        with pytest.raises(Interrupted):
            train(*SMALL, "run_dir=run")
    assert RunDir.open("run").read()["state"] == "interrupted"


def test_ctrl_c_in_a_real_process() -> None:
    process = Command("train", "run_dir=run", "trainer.max_epochs=2000", "model.width=4")
    process.wait_for(Path("run/checkpoints/last.ckpt"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume with: dlzoo run run" in errors
    assert len(errors.strip().splitlines()) == 1
    assert RunDir.open("run").read()["state"] == "interrupted"


def test_a_reader_that_goes_away_does_not_end_the_training() -> None:
    code = """
import os, subprocess, sys
from dlzoo.cli import main
reader = subprocess.Popen(["head", "-1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
os.dup2(reader.stdin.fileno(), 1)
reader.stdin.close()
sys.stdout = open(1, "w", closefd=False)
sys.exit(main(["train", "run_dir=run", *sys.argv[1:]]))
"""
    process = Command(*SMALL, code=code)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert RunDir.open("run").read()["state"] == "finished"


def interrupted(*overrides: str) -> RunDir:
    """A run that was stopped after its first epoch."""
    with pytest.MonkeyPatch.context() as patch:
        on_end = TaskModule.on_validation_epoch_end

        def stop(self: TaskModule) -> None:
            on_end(self)
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr(TaskModule, "on_validation_epoch_end", stop)
        with pytest.raises(Interrupted):
            train(*overrides, "run_dir=run")
    return RunDir.open("run")


def test_a_log_that_ends_within_a_line_keeps_its_good_lines() -> None:
    run = interrupted(*SMALL)
    good = run.metrics_file.read_text()
    run.metrics_file.write_bytes(good.encode() + b'{"step": 5\xff')
    execution.execute(run)
    assert run.metrics_file.read_text().startswith(good)


def test_an_edited_config_is_refused_and_nothing_is_lost() -> None:
    run = interrupted(*SMALL)
    run.config_file.write_text(run.config_file.read_text().replace("lr: 0.1", "lr: 0.2"))
    before = run.metrics_file.read_text()
    with pytest.raises(UserError, match=r"config\.yaml was edited .*\(optimizer\.lr: 0\.1 -> 0\.2\)"):
        execution.execute(run)
    assert run.metrics_file.read_text() == before


def test_without_its_last_checkpoint_a_run_goes_on_from_the_best() -> None:
    """A kill between the first epoch's two files leaves no other; a person may have deleted one."""
    run = interrupted(*SMALL)
    run.last_checkpoint.unlink()
    assert same(weights(execution.execute(run)), weights(train(*SMALL)))


def test_eval_does_not_take_the_last_epoch_for_the_best() -> None:
    run = train(*SMALL)
    (run.dir / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(UserError, match=r"best\.ckpt is missing"):
        evaluate(str(run.dir))


def test_a_run_that_started_from_other_weights_goes_on_without_them(tmp_path: Path) -> None:
    first = train(*SMALL, "run_dir=first")
    run = interrupted(*SMALL, "init_from=first")
    shutil.rmtree(first.dir)
    execution.execute(run)
    assert run.read()["init_from"] == "first, head included"


def test_nothing_but_the_run_is_said(capsys: pytest.CaptureFixture) -> None:
    assert main(["train", *SMALL, "data.val_fraction=0", "trainer.limit_batches=1", "run_dir=run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "on 200 samples" in captured.out
    assert main(["run", "run"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_names_that_look_like_formulas_are_drawn(tmp_path: Path, cache_home: Path) -> None:
    for name in ("a$b$c", "$\\frac$", "中文"):
        draw_pictures(tmp_path / "set" / name, 10)
    run = train("model=linear", "data=image_folder", f"data.root={tmp_path / 'set'}", "data.batch_size=8",
                "trainer.max_epochs=1", r"run_dir=d$\frac$x")  # fmt: skip
    assert RunDir.open(run.dir).read()["classes"] == ["$\\frac$", "a$b$c", "中文"]


def test_a_full_disk_keeps_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch) -> None:
    replace, saved = os.replace, []

    def full(source: object, target: object) -> None:
        if str(target).endswith("last.ckpt"):
            saved.append(target)
            if len(saved) == 2:
                raise OSError(28, "no space left on device")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"cannot write .*last\.ckpt.*no space left.*the previous checkpoint is intact"):
        train(*SMALL, "run_dir=full")
    run = RunDir.open("full")
    assert run.read()["state"] == "failed"
    assert torch.load(run.last_checkpoint, weights_only=True)["task"]["clock"] == 5
    assert not list((run.path / "checkpoints").glob("*.partial"))


def test_epochs_of_milliseconds_do_not_each_write_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_WORTH_SAVING", 1e9)
    written, write = [], checkpoints._write
    monkeypatch.setattr(checkpoints, "_write", lambda *words: (written.append(words[1].name), write(*words)))
    run = train(*SMALL, "trainer.max_epochs=12", "data.val_fraction=0")
    assert written == ["last.ckpt", "last.ckpt"]  # the first epoch's and the last one's
    assert torch.load(run.dir / "checkpoints" / "last.ckpt", weights_only=True)["task"]["clock"] == 12 * 5


@pytest.mark.long
def test_kill_9_at_random_moments_and_the_weights_are_those_of_an_undisturbed_run() -> None:
    """The script does any number, over all its configurations; here, one kill of the one that has most to restore."""
    script = Path(__file__).parents[2] / "scripts" / "prove_resume.py"
    words = ["--kills", "1", "--only", "bn adam ema"]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "1 of 1 equal"
