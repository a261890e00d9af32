"""Files of a run that were damaged: nothing goes on silently with other numbers."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlzoo.cli import main
from dlzoo.core.errors import Interrupted, Note
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL, logged, same, train, weights


def stopped(monkeypatch: pytest.MonkeyPatch, hook: str, *overrides: str) -> RunDir:
    """A run that got SIGTERM in a hook of its module."""
    on_end = getattr(TaskModule, hook)

    def stop(self: TaskModule) -> None:
        on_end(self)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, hook, stop)
        with pytest.raises(Interrupted):
            train(*SMALL, *overrides, "run_dir=run")
    return RunDir.open("run")


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.unlink()  # best.ckpt may be a second name of the file
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_is_found_or_changes_nothing(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(train(*SMALL, "trainer.max_epochs=1", "run_dir=run").dir)
    assert main(["eval", "run=run", "--json"]) == 0
    before = capsys.readouterr().out
    path = run.selected_checkpoint()
    flip(path, random.Random(seed).randrange(path.stat().st_size))
    code = main(["eval", "run=run", "--json"])
    printed = capsys.readouterr()
    if code == 0:  # padding between the tensors
        assert printed.out == before
    else:
        assert code == 2
        (line,) = printed.err.splitlines()
        assert f"{path}: damaged" in line


def test_a_damaged_last_checkpoint_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped(monkeypatch, "on_validation_epoch_end")
    flip(run.last_checkpoint, run.last_checkpoint.stat().st_size // 2)
    assert main(["run", "run"]) == 2
    assert "last.ckpt: damaged" in (line := capsys.readouterr().err)
    assert "delete it to resume from best.ckpt, of step 5" in line
    run.last_checkpoint.unlink()
    resumed = train("resume=run")
    assert same(weights(resumed), weights(train(*SMALL)))


@pytest.mark.parametrize(
    "settings", [["freeze=1", "init_from=first"], ["trainer.ema=0.9", "optimizer.l1=0.01"], ["optimizer=adagrad"]]
)
def test_an_intact_checkpoint_is_not_taken_for_a_damaged_one(
    settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(*SMALL, "trainer.max_epochs=1", "run_dir=first")
    stopped(monkeypatch, "on_validation_epoch_end", *settings)
    assert same(weights(train("resume=run")), weights(train(*SMALL, *settings)))


@pytest.mark.parametrize(
    "damage",
    [
        *("{", '{"step": "x"}', "\x00\x00", "[]", "[" * 5000, '{"step": 1, "val/accuracy": "bad"}', '{"step": true}'),
        '{"step": 1, "epoch": "x", "time": null, "train/loss": "bad", "val/accuracy": [1]}',
    ],
)
def test_a_damaged_line_of_the_log_is_named(
    damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped(monkeypatch, "on_validation_epoch_end")
    lines = run.metrics_file.read_text().splitlines()
    before = "\n".join([damage, *lines[1:]]) + "\n"
    run.metrics_file.write_text(before)
    assert main(["run", "run"]) == 2
    assert "run/metrics.jsonl, line 1: damaged" in capsys.readouterr().err
    run.metrics_file.write_text("\n".join([*lines[1:], damage]) + "\n")
    assert main(["runs", "run"]) == 0  # the last line is damaged
    run.metrics_file.write_text(before)
    assert run.metrics_file.read_text() == before


def test_missing_records_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(monkeypatch, "on_validation_epoch_end")
    lines = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join(lines[:-1]))
    with pytest.warns(Note, match=f"1 of the {len(lines)} records are missing, .* gaps, up to step 5"):
        train("resume=run")


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_record_is_said(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stopped(monkeypatch, "on_validation_epoch_end")
    record = json.loads((lines := run.metrics_file.read_text().splitlines())[0])
    name = sorted(record.keys() - {"step", "epoch", "time", "images_per_second"})[seed]
    record[name] += 1e-9
    run.metrics_file.write_text("\n".join([json.dumps(record), *lines[1:], ""]))
    with pytest.warns(Note, match=r"metrics\.jsonl: records were changed .* up to step 5"):
        train("resume=run")


def test_a_finished_run_whose_config_was_edited_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        train(*SMALL, "trainer.max_epochs=1", f"run_dir={name}")
    file = Path("b/config.yaml")
    file.write_text(file.read_text().replace("max_epochs: 1", "max_epochs: 9"))
    assert main(["run", "b"]) == 2
    says = "b/config.yaml was edited after the run had finished (trainer.max_epochs: 1 -> 9)"
    assert says in capsys.readouterr().err
    assert main(["diff", "a", "b"]) == 0
    assert "trainer.max_epochs" in capsys.readouterr().out
    assert main(["run", "a"]) == 0


def test_a_run_that_is_killed_in_its_test_has_one_test_in_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(*SMALL, "run_dir=whole")
    stopped(monkeypatch, "on_test_epoch_end")
    resumed = train("resume=run")
    assert logged(resumed.dir) == logged(whole.dir)
    boards = [EventAccumulator(str(run.dir), size_guidance={"scalars": 0}).Reload() for run in (whole, resumed)]
    for tag in boards[0].Tags()["scalars"]:
        if tag != "images_per_second":
            first, second = ([(event.step, event.value) for event in board.Scalars(tag)] for board in boards)
            assert first == second, tag
