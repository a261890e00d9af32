"""MLflow and Weights & Biases, really written and read back. `make test-extras` installs and runs them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.engine.test_followers import wait_for_end
from tests.processes import Command
from tests.processes import dlzoo as dlzoo_in_process
from tests.small import SMALL

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(
        find_spec("mlflow") is None or find_spec("wandb") is None, reason="needs mlflow and wandb: make test-extras"
    ),
]

TRACKED = [
    *(word for word in SMALL if "epochs" not in word),
    *("trainer.log_every=2", "hooks=[mlflow,wandb]", "hook.mlflow.tracking_uri=sqlite:///all.db"),
    *("hook.mlflow.experiment=mine", "hook.wandb.mode=offline", "hook.wandb.project=theirs"),
]


def mlflow_runs(experiment: str = "mine") -> list[tuple[Any, dict[str, list[tuple[int, int, float]]]]]:
    """(run, metric -> (step, milliseconds, value)) of each run in all.db."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{Path('all.db').absolute()}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return [
        (
            run,
            {
                name: [
                    (point.step, point.timestamp, point.value)
                    for point in client.get_metric_history(run.info.run_id, name)
                ]
                for name in run.data.metrics
            },
        )
        for run in client.search_runs([found.experiment_id])
    ]


def wandb_content(folder: Path) -> list[Any]:
    """The records of the offline run in a run directory, which is the only one."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("hooks/wandb/offline-run-*/run-*.wandb")
    records = []
    for content in leveldb_log(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # pyright: ignore[reportAttributeAccessIssue]
        record.ParseFromString(content)
        records.append(record)
    return records


def leveldb_log(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The records of a log in LevelDB's format (doc/log_format.md), after a header of 7 bytes."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # FULL, LAST
            yield whole
            whole = b""


def wandb_rows(folder: Path) -> list[dict[str, Any]]:
    records = [record.history for record in wandb_content(folder) if record.WhichOneof("record_type") == "history"]
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in records
    ]


def points(records: list[dict[str, Any]], name: str) -> list[tuple[int, float, float]]:
    found = [(record["step"], record["time"], record[name]) for record in records if name in record]
    return [(step, time, math.nan if value is None else value) for step, time, value in found]


def check_sent(run: RunDir, client_run: Any, history: dict[str, list[tuple[int, int, float]]]) -> None:
    """Check that both have each number that was logged, once, at its step and time."""
    records = read_metrics(run.metrics_file)
    names = {name for record in records for name in record} - {"step", "epoch", "time"}
    assert {name for name in history if not name.startswith("final/")} == names
    rows = wandb_rows(run.path)
    for name in names - {"images_per_second"}:
        logged = points(records, name)
        assert [(step, value) for step, _, value in history[name]] == [(step, value) for step, _, value in logged]
        assert [(row["_step"], row[name]) for row in rows if name in row] == [
            (step, value) for step, _, value in logged
        ]
    assert client_run.data.params["model"] == "mlp" and client_run.data.params["data.limit"] == "200"
    metrics = run.read()["metrics"]
    assert {name: history[f"final/{name}"][-1][2] for name in metrics} == pytest.approx(metrics)
    (summary,) = [
        {item.key: json.loads(item.value_json) for item in record.summary.update if item.key.startswith("final/")}
        for record in wandb_content(run.path)
        if record.WhichOneof("record_type") == "summary"
        and any(item.key == "final/test/accuracy" for item in record.summary.update)
    ][-1:]
    assert summary == {f"final/{name}": pytest.approx(value) for name, value in metrics.items()}


def exit_codes(folder: Path) -> list[int]:
    return [each.exit.exit_code for each in wandb_content(folder) if each.WhichOneof("record_type") == "exit"]


def test_runs_of_a_sweep_are_sent_with_their_steps_and_times() -> None:
    dlzoo_in_process("train", "-m", "name=both", "seed=0,1", *TRACKED, "trainer.max_epochs=2", one_process=True)
    tracked = {run.data.tags["dlzoo.run_dir"]: (run, history) for run, history in mlflow_runs()}
    runs = [RunDir(path.parent) for path in sorted(Path("outputs/both").glob("*/run.json"))]
    assert len(runs) == len(tracked) == 2
    for run in runs:
        client_run, history = tracked[str(run.path.absolute())]
        check_sent(run, client_run, history)
        assert client_run.info.run_name == f"both/{run.path.name}"
        assert client_run.info.status == "FINISHED"
        assert exit_codes(run.path) == [0]
        times = {round(1000 * record["time"]) for record in read_metrics(run.metrics_file)}
        assert {time for values in history.values() for _, time, _ in values} == times


def test_after_a_kill_no_point_is_missing_or_doubled() -> None:
    run = RunDir(Path("killed"))
    slow = (
        "import sys, time; from dlzoo.engine.task_module import TaskModule as T; f = T.on_validation_epoch_end\n"
        "def wait(self): f(self); time.sleep(0.3)\nT.on_validation_epoch_end = wait\n"
        "from dlzoo.cli import main; main(sys.argv[1:])"
    )
    command = Command("train", *TRACKED, "trainer.max_epochs=40", "run_dir=killed", code=slow)
    for name in ("mlflow", "wandb"):
        command.wait_for(run.path / "hooks" / f"{name}.json", '"last": [\n  ')
    command.kill()
    wait_for_end(run, "mlflow")
    wait_for_end(run, "wandb")
    ((killed, partly),) = mlflow_runs()
    assert killed.info.status == "KILLED"
    assert exit_codes(run.path) == [1]
    logged = read_metrics(run.metrics_file)
    assert [step for step, _, _ in partly["train/loss"]] == [step for step, _, _ in points(logged, "train/loss")]
    assert len(logged) < 200
    dlzoo_in_process("run", "killed")
    ((resumed, history),) = mlflow_runs()
    check_sent(run, resumed, history)
    assert (resumed.info.run_id, resumed.info.status) == (killed.info.run_id, "FINISHED")


def test_a_run_that_fails_is_marked() -> None:
    words = ["train", *TRACKED, "trainer.max_epochs=3", "run_dir=bad", "optimizer.lr=1e30", "trainer.clip_norm=null"]
    command = Command(*words)
    assert "not finite" in command.communicate()[1]
    for name in ("mlflow", "wandb"):
        wait_for_end(RunDir(Path("bad")), name)
    ((run, _),) = mlflow_runs()
    assert run.info.status == "FAILED"
    assert exit_codes(Path("bad")) == [1]


def test_two_ranks_are_one_run() -> None:
    words = ["train", *TRACKED, "trainer.max_epochs=2", "trainer.devices=2", "run_dir=two"]
    dlzoo_in_process(*words, fork=True)
    ((run, history),) = mlflow_runs()
    check_sent(RunDir(Path("two")), run, history)


def test_a_server_that_is_not_there_is_one_note() -> None:
    words = [word for word in TRACKED if "tracking_uri" not in word and "wandb" not in word]
    words = ["train", *words, "hooks=[mlflow]", "hook.mlflow.tracking_uri=http://127.0.0.1:9", "trainer.max_epochs=2"]
    command = Command(*words, "run_dir=alone")
    errors = command.communicate()[1]
    assert command.returncode == 0
    (line,) = [line for line in errors.splitlines() if "hook mlflow" in line]
    count = len(read_metrics(Path("alone/metrics.jsonl")))
    assert f"{count} of {count} records could not be sent (MlflowException: API request to http://127.0.0.1:9" in line
