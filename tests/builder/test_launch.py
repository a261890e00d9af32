"""Distributed runs: two processes over gloo, started as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dlzoo.builder import execute as execution
from dlzoo.builder import launch
from dlzoo.builder.evaluate import evaluate
from dlzoo.builder.launch import RankError
from dlzoo.builder.model import build
from dlzoo.builder.run_checks import check_ranks
from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.config.device import accelerator_and_precision, processes
from dlzoo.config.settings import TrainerSettings
from dlzoo.core import distributed
from dlzoo.core.distributed import Rank
from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.split import Split
from dlzoo.data.transforms.batch import ImageTransform, Normalise
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.processes import fork_runs
from tests.small import CONV, logged, same, train, weights

TWO = ["trainer=ddp_cpu", "trainer.threads=1"]


def names_logged(run: Path) -> list[tuple[int, list[str]]]:
    return [(record["step"], sorted(record)) for record in logged(run)]


def losses(run: Path) -> list[float]:
    return [record["train/loss"] for record in read_metrics(run / "metrics.jsonl") if "train/loss" in record]


def torchrun(*overrides: str) -> RunDir:
    """A run whose two ranks torchrun starts, and not dlzoo."""
    run = RunDir.create(Path("outputs/of_torchrun"), compose(overrides))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run([*command, "-m", "dlzoo.cli", "run", str(run.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return run


@pytest.mark.parametrize(
    ("launcher", "settings"),
    [
        ("dlzoo", ["norm=sync_bn", "trainer.checkpoint_activations=true", "trainer.accumulate=2"]),
        pytest.param("torchrun", ["norm=gn", "trainer.accumulate=2"], marks=pytest.mark.long),  # imports three times
    ],
)
def test_two_ranks_train_what_one_process_trains(
    launcher: str, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    settings = [*CONV[1:], *settings, "trainer.ema=0.9", "optimizer.lr=0.02", "trainer.log_every=3"]
    alone = train("trainer=cpu", *settings)
    shared = torchrun(*TWO, *settings) if launcher == "torchrun" else RunDir(train(*TWO, *settings).dir)
    for key, value in weights(alone).items():
        torch.testing.assert_close(weights(shared)[key], value, rtol=1e-3, atol=1e-4)
    record = shared.read()
    assert (record["state"], record["ranks"], record["steps"]) == ("finished", 2, 10)
    assert names_logged(shared.path) == names_logged(alone.dir)
    assert losses(shared.path) == pytest.approx(losses(alone.dir), rel=1e-3)
    # 160 test images in two batches of 80; 143 for validation in batches of 72 and 71.
    assert record["tested"] == 160
    assert record["metrics"]["test/accuracy"] == pytest.approx(evaluate(str(shared.path))["test/accuracy"])
    assert sorted(path.name for path in Path("outputs").iterdir()) == sorted([alone.dir.name, shared.path.name])


def test_ranks_share_each_batch_and_count_each_sample_once() -> None:
    split = Split(torch.arange(23, dtype=torch.uint8).view(23, 1, 1, 1), torch.arange(23))
    normalise = Normalise(torch.zeros(1), torch.ones(1))

    def feeds(rank: Rank) -> tuple[TrainLoader, EvalLoader]:
        train = TrainLoader(split, ImageTransform(build("augment", "none"), normalise), Streams(0), 12, 2, rank=rank)
        return train, EvalLoader(split, normalise, 5, rank=rank)

    whole, _ = feeds(Rank())
    parts = [feeds(Rank(index, 3)) for index in range(3)]
    for step in range(3):
        for micro, batch in enumerate(whole.batches(step)):
            shared = [list(train.batches(step))[micro].labels for train, _ in parts]
            assert [len(labels) for labels in shared] == [2, 2, 2]
            assert torch.equal(torch.cat(shared), batch.labels)
    counts = [[evaluation.batch(turn) for turn in range(len(evaluation))] for _, evaluation in parts]
    assert [len(batches) for batches in counts] == [2, 2, 2]  # as often as the others
    seen = torch.cat([batch.labels for batches in counts for batch in batches if batch is not None])
    assert sorted(seen.tolist()) == list(range(23))


def start(*overrides: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dlzoo.cli", "train", "run_dir=run", *CONV[1:], *TWO, *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_nobody_loads_a_checkpoint_that_is_still_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = (
        "import os, time\n"
        "replace = os.replace\n"
        "def slowly(source, target, **where):\n"
        "    time.sleep(3 if str(target).endswith('.ckpt') else 0)\n"
        "    replace(source, target, **where)\n"
        "os.replace = slowly\n"
    )
    (tmp_path / "sitecustomize.py").write_text(slow)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = start("trainer.max_epochs=1")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert RunDir.open("run").read()["metrics"]["test/accuracy"] == pytest.approx(evaluate("run")["test/accuracy"])


def children(process: subprocess.Popen) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def wait_for(happened, process: subprocess.Popen) -> None:
    deadline = time.time() + 120
    while not happened():
        assert time.time() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.long
def test_a_stopped_run_of_two_ranks_goes_on_to_the_same_end() -> None:
    settings = ["norm=gn", "trainer.max_epochs=8", "trainer.log_every=1", "trainer.checkpoint_every=2"]
    process = start(*settings)
    log = Path("run") / "metrics.jsonl"
    wait_for(lambda: len(read_metrics(log)) > 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert re.fullmatch(r"dlzoo: stopped after step \d+ of 40; resume with: dlzoo run run\n", errors), errors
    run = RunDir.open("run")
    assert run.read()["state"] == "interrupted"
    resumed = execution.execute(run)
    whole = train(*CONV[1:], *TWO, *settings)
    assert same(weights(resumed), weights(whole))
    assert logged(resumed.path) == logged(whole.dir)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_no_rank_outlives_a_killed_parent_and_a_killed_rank_ends_the_run() -> None:
    process = start("trainer.max_epochs=5000")
    wait_for(lambda: (Path("run") / "checkpoints" / "last.ckpt").exists(), process)
    pids = children(process)
    assert len(pids) == 2
    process.kill()
    process.communicate()
    deadline = time.time() + 20
    while any(alive(pid) for pid in pids):
        assert time.time() < deadline
        time.sleep(0.05)
    run = RunDir.open("run")
    assert run.read()["state"] == "interrupted"
    command = [sys.executable, "-m", "dlzoo.cli", "run", "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    epoch = torch.load(run.last_checkpoint, weights_only=True)["epoch"]
    wait_for(lambda: torch.load(run.last_checkpoint, weights_only=True)["epoch"] > epoch + 2, process)
    os.kill(max(children(process)), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"dlzoo: rank \d was killed by SIGKILL .*; resume with: dlzoo run run\n", errors), errors
    record = run.read()
    assert record["state"] == "failed"
    assert "was killed by SIGKILL" in record["error"]


@pytest.mark.parametrize("ranks", [["exit 1", "kill -9 $$"], ["kill -9 $$", "exit 1"], ["kill -6 $$", "kill -9 $$"]])
def test_the_rank_that_was_killed_is_reported_although_others_failed_when_they_missed_it(ranks: list[str]) -> None:
    processes = [subprocess.Popen(["sh", "-c", script]) for script in ranks]
    for process in processes:  # both end between two looks of the parent, as on a busy machine
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert launch._wait(processes) == ranks.index("kill -9 $$")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.batch_size=33"], r"data.batch_size=33 does not divide into 2 equal parts, one per device$"),
        (["trainer.devices=1000"], "trainer.devices=1000: too many processes for"),
    ],
)
def test_what_the_ranks_cannot_do_is_one_line(
    overrides: list[str], says: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_runs(monkeypatch)
    assert main(["train", "run_dir=run", *TWO, *overrides]) == 2
    errors = capfd.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert re.search(says, errors[0])
    assert RunDir.open("run").read()["state"] == "failed"


def test_ranks_that_do_not_fit_the_run_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.create(Path("run"), compose([*CONV]))
    with monkeypatch.context() as patch:
        for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
            patch.setenv(name, str(value))
        with pytest.raises(UserError, match="torchrun can only run an existing run directory"):
            train(*CONV)
    with pytest.raises(
        UserError, match=r"has trainer.devices=1, trainer.nodes=1, but 2 ranks were started for 1 devices"
    ):
        check_ranks(run, compose([*CONV]), 1, 2, Rank(0, 2))
    with pytest.raises(UserError, match=r"was started on 4 devices and cannot resume on 2"):
        check_ranks(run, compose([*CONV]), 2, 4, Rank(0, 2))
    other = json.dumps({"seed": 1})
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value, other if isinstance(value, str) else value])
    with pytest.raises(UserError, match="differs between ranks"):
        execution.execute(run)


@pytest.mark.parametrize("gpus", [0, 4])
def test_no_thousand_processes_are_started(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=r"too many processes for \d+ cores"):
        accelerator_and_precision(TrainerSettings(accelerator="cpu", devices=100_000))
    with pytest.raises(UserError, match="too many processes" if gpus == 0 else r"torch sees 4 GPU\(s\) here"):
        accelerator_and_precision(TrainerSettings(devices=100_000))
    assert processes(TrainerSettings(devices="all")) == max(1, gpus)
    assert processes(TrainerSettings(devices="all", accelerator="cpu")) == 1


def test_what_broke_the_rank_that_leads_is_what_run_json_says(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.create(Path("run"), compose([*CONV[1:], *TWO]))

    def broken(*words: object, **more: object) -> None:
        run.update(state="failed", error="Traceback of rank 0")
        raise RankError(0, "rank 0 ended with exit code 1")

    monkeypatch.setattr(execution, "launch", broken)
    with pytest.raises(RankError):
        execution.execute(run)
    assert run.read()["error"] == "Traceback of rank 0"


@pytest.mark.long
def test_a_rank_that_breaks_is_a_traceback_once_and_no_file_of_the_users_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("random.py").write_text("raise SystemExit('a file of the user was run')")  # the ranks start in this folder
    package = tmp_path / "plug"
    package.mkdir()
    (package / "sitecustomize.py").write_text(
        "import os\nif os.environ.get('RANK') == '1':\n"
        "    from dlzoo.core import distributed\n    def broken(*_): raise ValueError('of rank 1')\n"
        "    distributed.all_gather = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    run = RunDir.create(Path("run"), compose([*CONV[1:], *TWO]))
    with pytest.raises(RankError, match=r"(?s)rank 1 ended with exit code 1:.*ValueError: of rank 1$"):
        execution.execute(run)
    assert run.read()["state"] == "failed"
    assert "of rank 1" in run.read()["error"]


def test_a_run_that_another_process_finished_is_left_alone_by_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.create(Path("run"), compose([*CONV]))
    run.update(metrics={"test/accuracy": 0.5})
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value, True])
    assert execution.execute(run).read()["metrics"] == {"test/accuracy": 0.5}
    assert run.read()["state"] == "created"


@pytest.mark.parametrize("rank", ["1", "x", "-1"])
def test_rank_variables_that_make_no_sense_are_one_line(
    monkeypatch: pytest.MonkeyPatch, rank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": rank, "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["train", *CONV]) == 2
    assert capsys.readouterr().err == (
        f"dlzoo: invalid torchrun variables in the environment: RANK={rank}, WORLD_SIZE=1, LOCAL_RANK=0,"
        " LOCAL_WORLD_SIZE=1; start the ranks with torchrun\n"
    )


def test_callbacks_cannot_go_where_the_ranks_are() -> None:
    from pytorch_lightning import Callback

    import dlzoo

    with pytest.raises(UserError, match=r"callbacks do not work with trainer\.devices > 1"):
        dlzoo.train([*CONV[1:], *TWO], quiet=True, callbacks=[Callback()])
