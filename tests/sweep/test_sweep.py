"""Sweeps that are carried out: killed, shared, with broken runs in them."""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlzoo.config import compose
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import find
from tests.processes import Command, dlzoo
from tests.small import SMALL, train

TRAIN = Path(__file__).parents[2] / "train.py"
#: Runs of a second or so of steps, with checkpoints to go on from.
RUNS = [*SMALL, "trainer.max_epochs=40", "trainer.checkpoint_every=3", "trainer.threads=1"]


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """A sweep, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, str(TRAIN), "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=180)
    assert process.returncode == code, said
    return said


def sweep(*words: str, code: int = 0, **environment: str) -> str:
    return finish(start(*words, **environment), code)


def records(folder: str | Path) -> dict[str, dict]:
    return {path.name: RunDir.open(path).read() for path in find(Path(folder))}


def children_of(folder: Path) -> list[int]:
    """The processes that carry out runs of a folder."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in words) and "-P" in words:
            found.append(int(status.parent.name))
    return found


def gone(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while children_of(folder):
        assert time.monotonic() < deadline, "a run outlived its parent"
        time.sleep(0.05)


@pytest.mark.long
def test_a_sweep_that_is_killed_twice_ends_as_one_that_nobody_disturbed() -> None:
    folder = Path.cwd() / "swept"
    words = [*RUNS, "name=killed", f"sweep.dir={folder}", "seed=range(3)"]
    draw, ended = random.Random(0), {}
    for with_children in (False, True):
        process = start(*words)
        before = sum(record["state"] == "finished" for record in records(folder).values()) if folder.exists() else 0
        while not folder.exists() or _finished(folder) < before + 1:  # in the middle of things
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 2))
        victims = children_of(folder) if with_children else []
        for victim in (process.pid, *victims):
            os.kill(victim, signal.SIGKILL)
        process.communicate()
        gone(folder)
        for name, record in records(folder).items():
            if record["state"] == "finished":
                assert record["finished"] == ended.setdefault(name, record["finished"])
    sweep(*words)
    left = records(folder)
    assert len(left) == 3
    for name, record in left.items():
        assert record["state"] == "finished"
        assert record["finished"] == ended.get(name, record["finished"])  # nothing was run twice
        config = record["config"]
        undisturbed = train(*RUNS, f"seed={config['seed']}")
        assert record["metrics"] == undisturbed.metrics


def _finished(folder: Path) -> int:
    return sum(record["state"] == "finished" for record in records(folder).values())


@pytest.fixture
def crashing(tmp_path: Path) -> dict[str, str]:
    """The environment in which another package brings a model that breaks when it is trained."""
    site = tmp_path / "site"
    (site / "crashing-1.0.dist-info").mkdir(parents=True)
    (site / "crashing-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: crashing\nVersion: 1.0\n")
    (site / "crashing-1.0.dist-info" / "entry_points.txt").write_text("[dlzoo.model]\ncrashing = crashing\n")
    (site / "crashing.py").write_text(
        "import os, signal\n"
        "import torch\n"
        "from torch import nn\n"
        "from dlzoo.core.registries import MODELS\n"
        "class Crashing(nn.Module):\n"
        "    def __init__(self, pixels, num_classes, how):\n"
        "        super().__init__()\n"
        "        self.how, self.head = how, nn.Linear(pixels, num_classes)\n"
        "    def forward(self, images):\n"
        "        if images.device.type != 'meta' and self.how == 'crash':\n"
        "            raise ZeroDivisionError('of all things')\n"
        "        if images.device.type != 'meta' and self.how == 'kill':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        out = self.head(images.flatten(1))\n"
        "        return out * float('nan') if self.how == 'lost' else out\n"
        "@MODELS.register('crashing', source='a test')\n"
        "def crashing(*, num_classes: int, in_channels: int, image_size: int, how: str = 'one') -> nn.Module:\n"
        "    '''A model that breaks.'''\n"
        "    return Crashing(in_channels * image_size**2, num_classes, how)\n"
    )
    return {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.mark.parametrize(
    ("executor", "hows"),
    [("local", "one,crash,kill"), pytest.param("slurm_local", "crash,one,kill", marks=pytest.mark.long)],
)
def test_a_crash_a_nan_and_a_kill_leave_the_other_runs_alone(
    executor: str, hows: str, crashing: dict[str, str]
) -> None:
    if executor == "slurm_local":
        pytest.importorskip("submitit")
    words = [*SMALL[2:], "model=crashing", f"model.how={hows}", f"executor={executor}"]
    process = Command("train", "-m", *words, "name=broken", environment=crashing, fork=executor == "local")
    said = "".join(process.communicate())
    assert process.returncode == 1, said
    left = records("outputs/broken")
    states = {name: record["state"] for name, record in left.items()}
    good = sum(how in ("one", "two") for how in hows.split(","))
    bad = len(hows.split(",")) - good
    assert sorted(states.values()) == ["failed"] * bad + ["finished"] * good
    for name, record in left.items():
        how = record["config"]["model"]["how"]
        assert (record["state"] == "finished") == (how in ("one", "two")), name
        if how == "crash":
            assert "Traceback" in record["error"]
            assert "ZeroDivisionError: of all things" in record["error"]
        if how == "lost":
            assert "the loss is not finite at step" in record["error"]
            assert "learning rate" in record["error"]
        if how == "kill":
            assert "killed by SIGKILL" in record["error"]
    assert f"{good + bad} runs: {good} finished, {bad} failed" in said
    assert said.count("ZeroDivisionError: of all things") == 2  # as each ended, and in the table


@pytest.mark.long
def test_a_sweep_that_is_stopped_saves_and_a_run_whose_folder_goes_takes_nobody_along() -> None:
    words = [*RUNS, "trainer.max_epochs=300000", "name=stopped", "seed=range(2)"]  # none ends by itself
    folder = Path("outputs/stopped")
    folder.mkdir(parents=True)
    process = start(*words)
    while not all((path / "checkpoints" / "last.ckpt").exists() for path in find(folder)) or len(find(folder)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = finish(process, 130)
    assert "saving 2 runs before exit" in said
    assert said.endswith("dlzoo: stopped, 0 of 2 runs are finished; repeat the command to resume\n")
    assert {record["state"] for record in records(folder).values()} == {"interrupted"}
    process = start(*words)
    while not all(record["state"] == "running" for record in records(folder).values()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    going, gone_one = find(folder)
    gone_one.rename("moved")
    time.sleep(3)
    assert RunDir(going).read()["state"] == "running"
    process.send_signal(signal.SIGTERM)
    finish(process, 130)
    assert RunDir(going).read()["state"] == "interrupted"
    gone(folder)


@pytest.mark.long
def test_two_ranks_inside_a_sweep() -> None:
    words = [*SMALL, "trainer=ddp_cpu", "norm=default", "name=ranks", "optimizer.lr=0.1,0.2"]
    sweep(*words)
    left = records("outputs/ranks")
    assert len(left) == 2
    for record in left.values():
        assert (record["state"], record["ranks"], record["tested"]) == ("finished", 2, 200)
    there = [path.name for path in Path("outputs/ranks").iterdir() if path.is_dir()]
    assert sorted(there) == sorted(left)  # no ghost folders


def test_a_comparison_is_carried_out_and_ends_as_a_report() -> None:
    base = shlex.join([*SMALL, "trainer.threads=1"])
    words = ["norm=bn,gn", "seeds=1", f"base={base}", "name=norms", "baseline=norm=gn"]
    said = dlzoo("compare", *words, one_process=True)
    assert "2 runs: 2 finished" in said
    assert "report      outputs/norms/report/report.html" in said
    found = json.loads(Path("outputs/norms/report/report.json").read_text())
    assert [factor["key"] for factor in found["factors"]] == ["norm"]
    assert found["comparisons"][0]["against"] == "gn"
    assert found["commands"][0] == shlex.join(["dlzoo", "compare", *words])


@pytest.mark.long
def test_two_identical_sweeps_at_once_run_each_job_once() -> None:
    words = [*RUNS, "name=twins", "seed=range(3)"]
    twins = [start(*words), start(*words)]
    said = [finish(twin) for twin in twins]
    assert any("elsewhere   seed=0: waiting for another process that runs it" in each for each in said)
    tables = [re.findall(r"^finished +100%  (test \S+).*  (\d)$", each, re.MULTILINE) for each in said]
    assert len(tables[0]) == 3
    assert tables[0] == tables[1]
    for record in records("outputs/twins").values():
        assert record["state"] == "finished"
    for path in find(Path("outputs/twins")):
        log = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        steps = [record["step"] for record in log if "train/loss" in record]
        assert steps == sorted(set(steps))  # begun once
        assert (path / "output.txt").read_text().count("test accuracy") == 1


def test_a_ray_cluster_carries_a_sweep_out() -> None:
    pytest.importorskip("ray.job_submission")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = Path(sys.executable).with_name("ray")
    words = ["start", "--head", "--block", "--port=0", f"--dashboard-port={port}", "--num-cpus=2"]
    cluster = subprocess.Popen([ray, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        words = [*SMALL, "name=rays", "seed=range(3)", "executor=ray", f"executor.address=http://127.0.0.1:{port}"]
        deadline = time.monotonic() + 60
        while (process := start(*words)).wait(120) == 2:  # the cluster is not there yet
            said, _ = process.communicate()  # closes the pipe
            assert time.monotonic() < deadline, said
        assert "3 runs: 3 finished" in finish(process)
        for record in records("outputs/rays").values():
            assert record["metrics"] == train(*SMALL, f"seed={record['seed']}", "trainer.threads=1").metrics
        assert all((path / "job.json").exists() for path in find(Path("outputs/rays")))
    finally:
        cluster.terminate()
        cluster.wait(30)


@pytest.mark.long
def test_a_job_that_loses_its_place_is_put_into_the_queue_again_and_goes_on() -> None:
    pytest.importorskip("submitit")
    from dlzoo.config.executor import SlurmSettings
    from dlzoo.sweep.executors.slurm import SlurmExecutor

    words = [*SMALL, "trainer.max_epochs=600", "trainer.threads=1"]
    run = RunDir.create(Path("outputs/preempted"), compose(words))
    job = SlurmExecutor(SlurmSettings(), Path("outputs"), here=True).start(run, compose(words))
    deadline = time.monotonic() + 60
    while not run.last_checkpoint.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    controller = job._job.job_id  # type: ignore[attr-defined]
    (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)  # as Slurm does before it takes a machine away
    while not job.ended():
        assert time.monotonic() < deadline + 60
        time.sleep(0.1)
    assert run.read()["state"] == "finished", job.exit_reason()
    said = run.output_file.read_text()
    assert "dlzoo: stopped after step" in said
    assert said.count("test accuracy") == 1
    assert run.read()["metrics"] == train(*words).metrics
