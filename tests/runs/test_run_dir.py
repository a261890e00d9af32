"""The run directory and its logs."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlzoo.core.errors import UserError
from dlzoo.engine.hooks.hook import Start
from dlzoo.engine.hooks.tensorboard import TensorBoard
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.run_dir import RunDir, make_folder, write_atomically


def test_a_new_run_is_created_and_refuses_what_is_there(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "a" / "b", {"seed": 1})
    assert run.read()["state"] == "created"
    assert run.read()["config"] == {"seed": 1}
    with pytest.raises(UserError, match="already holds a run \\(state: created\\); resume it with: dlzoo run"):
        RunDir.create(run.path, {})
    run.update(state="failed", error="the data are too small")
    with pytest.raises(UserError, match="holds a failed run that trained nothing; delete the folder"):
        RunDir.create(run.path, {})
    run.update(state="finished", metrics={"test/accuracy": 0.5})
    with pytest.raises(UserError, match="holds a finished run"):
        RunDir.create(run.path, {})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="already has other content"):
        RunDir.create(tmp_path / "mine", {})
    with pytest.raises(UserError, match="already has other content"):
        RunDir.create(tmp_path / "mine" / "thesis.txt", {})
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the run to"):
        RunDir.create(tmp_path / "file" / "run", {})


@pytest.mark.parametrize("content", [None, "", "{", '{"other": 1}', "[]"])
def test_what_is_no_run_is_said(tmp_path: Path, content: str | None) -> None:
    with pytest.raises(UserError, match="is not a run directory: folder not found"):
        RunDir.open(tmp_path / "absent")
    (tmp_path / "config.yaml").write_text("")
    if content is None:
        with pytest.raises(UserError, match=r"has no config\.yaml and run\.json"):
            RunDir.open(tmp_path)
    else:
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(UserError, match=r"run\.json cannot be read"):
            RunDir.open(tmp_path).read()


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with RunDir.open(path).lock():
        ready.set()
        time.sleep(60)


def test_a_run_whose_process_was_killed_is_interrupted(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", {})
    run.update(state="running")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(run.path, ready))
    process.start()
    assert ready.wait(60)
    assert run.read()["state"] == "running"
    with pytest.raises(UserError, match="written by another process"), run.lock():
        pass
    process.kill()
    process.join()
    assert run.read()["state"] == "interrupted"


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", {})
    reading, writing = os.pipe()
    with run.lock():
        child = os.fork()
        if child == 0:
            os.write(writing, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)  # the child runs
    try:
        with run.lock():
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file"]


def test_fresh_folders_never_meet(tmp_path: Path) -> None:
    folders = [make_folder("a/b c", tmp_path) for _ in range(5)]
    assert folders[0].name.endswith("_a-b-c")
    assert len(set(folders)) == 5
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the run to"):
        make_folder("x", tmp_path / "file")


def _start_logs(run: RunDir, step: int) -> tuple[MetricLog, TensorBoard]:
    board = TensorBoard()
    log = MetricLog(run, step, listener=board.log)
    board.fit_start(Start(run.path, {}, step, log.records))
    return log, board


def test_logs_hold_the_same_numbers_and_go_on_without_doubled_steps(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", {})
    log, board = _start_logs(run, 0)
    for step in (10, 20, 30):
        log.scalars(step, step / 10, {"train/loss": 1 / step, "bad": float("nan")})
    log.close()
    board.exception(KeyboardInterrupt())
    with run.metrics_file.open("a") as file:
        file.write('{"step": 40, "tr')  # a kill in the middle of a line
    log, board = _start_logs(run, 20)
    log.scalars(30, 3.0, {"train/loss": 5.0})
    log.close()
    board.fit_end({})
    records = read_metrics(run.metrics_file)
    assert [(r["step"], r["train/loss"]) for r in records] == [(10, 0.1), (20, 0.05), (30, 5.0)]
    assert records[0]["bad"] is None
    assert all(json.loads(line) for line in run.metrics_file.read_text().splitlines())
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0})
    events.Reload()
    assert [(e.step, round(e.value, 6)) for e in events.Scalars("train/loss")] == [(10, 0.1), (20, 0.05), (30, 5.0)]
