"""Loggers that follow metrics.jsonl from a process of their own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dlzoo.core.errors import Interrupted, Note, UserError
from dlzoo.core.overriding import overrides
from dlzoo.engine.hooks.csv_file import CsvSender
from dlzoo.engine.hooks.follower import Follower, State, place_of
from dlzoo.engine.hooks.follower_hook import FollowerHook
from dlzoo.engine.hooks.hook import Hook, HookStart, Record
from dlzoo.engine.hooks.mlflow_tracking import resolve
from dlzoo.engine.hooks.running import RunHooks
from dlzoo.engine.hooks.sender import FollowedRun, Sender
from dlzoo.engine.hooks.tensorboard import TensorBoard
from dlzoo.engine.hooks.wandb_run import WandbSender
from dlzoo.runs.lock import is_locked
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.processes import Command
from tests.processes import dlzoo as dlzoo_in_process
from tests.small import SMALL, train

RECORDS: list[Record] = [
    {"step": step, "epoch": step / 10, "time": step + 0.5, **values}
    for step, values in [
        (5, {"train/loss": 2.0}),
        (10, {"train/loss": 1.0}),
        (10, {"val/loss": None, "val/accuracy": 0.5}),
        (10, {"test/accuracy": 0.25}),
    ]
]


def write(folder: Path, records: Sequence[Record], rest: str = "") -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + rest)


class Memory(Sender):
    """Keep what is sent in a list that outlives the sender; fail as often as is asked for."""

    def __init__(self, store: list[Record], fails: int = 0, over: bool = False) -> None:
        self.store, self.fails, self.over = store, fails, over

    def starts_over(self, memory: dict[str, Any]) -> bool:
        return self.over

    def open(self, run: FollowedRun, memory: dict[str, Any]) -> None:
        memory["opened"] = memory.get("opened", 0) + 1
        if self.over:
            self.store.clear()

    def has(self, record: Record) -> bool:
        return any(place_of(record) == place_of(other) for other in self.store)

    def send(self, records: Sequence[Record]) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("no network")
        self.store += records


def follower(folder: Path, sender: Sender) -> Follower:
    return Follower(FollowedRun(folder, "", {}), sender, State.read(folder / "state.json"))


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "state.json").read_text())


@pytest.mark.parametrize("over", [False, True])
def test_what_is_new_is_sent_once(tmp_path: Path, over: bool) -> None:
    store: list[Record] = []
    followed = follower(tmp_path, Memory(store, over=over))
    assert followed.attempt() and store == []  # nothing is logged yet
    write(tmp_path, RECORDS[:2], '{"step": 1')  # and a line that is being written
    assert followed.attempt() and store == RECORDS[:2]
    write(tmp_path, RECORDS)
    # A kill, and another process: the run has logged the same steps again, at other times.
    again = [{**record, "time": record["time"] + 100} for record in RECORDS]
    write(tmp_path, again)
    assert follower(tmp_path, Memory(store, over=over)).attempt()
    assert store == (again if over else RECORDS[:2] + again[2:])
    assert state(tmp_path)["sent"] == 4
    assert state(tmp_path)["memory"] == {"opened": 2}


def test_a_kill_between_sending_and_noting_it_doubles_nothing(tmp_path: Path) -> None:
    write(tmp_path, RECORDS)
    store = RECORDS[:3]
    before = State(tmp_path / "state.json", sent=1, last=place_of(RECORDS[0]))
    before.write()
    assert follower(tmp_path, Memory(store)).attempt()
    assert store == RECORDS


def test_a_failure_loses_nothing_and_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store: list[Record] = []
    write(tmp_path, RECORDS)
    followed = follower(tmp_path, Memory(store, fails=1))
    assert not followed.attempt()
    assert (state(tmp_path)["unsent"], state(tmp_path)["error"]) == (4, "OSError: no network")
    assert "no network" in capsys.readouterr().err
    (tmp_path / "run.json").write_text('{"metrics": {"test/accuracy": 0.25}}')
    followed.end("finished", 0.1)
    assert store == RECORDS
    assert {key: state(tmp_path)[key] for key in ("sent", "unsent", "error", "ended")} == {
        "sent": 4,
        "unsent": 0,
        "error": None,
        "ended": "finished",
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def as_table(records: Sequence[Record]) -> list[dict[str, str]]:
    columns = dict.fromkeys(name for record in records for name in record)
    texts = [{name: "nan" if value is None else str(value) for name, value in record.items()} for record in records]
    return [dict.fromkeys(columns, "") | text for text in texts]


def test_a_table_has_a_column_for_each_metric(tmp_path: Path) -> None:
    sender = CsvSender("table.csv")
    for _ in range(2):  # a resumed run writes it anew
        sender.open(FollowedRun(tmp_path, "", {}), {})
        for records in (RECORDS[:1], RECORDS[1:2], RECORDS[2:]):
            sender.send(records)
        assert table(tmp_path / "table.csv") == as_table(RECORDS)


LONG = [*(word for word in SMALL if "epochs" not in word), "trainer.max_epochs=30", "trainer.log_every=2"]


@pytest.mark.long
def test_a_table_has_no_gap_and_no_doubled_row_after_a_kill() -> None:
    run = RunDir(Path("killed"))
    slow = "import time; from dlzoo.engine.task_module import TaskModule as T; f = T.on_validation_epoch_end\n" \
           "def wait(self): f(self); time.sleep(0.1)\nT.on_validation_epoch_end = wait\n"  # fmt: skip
    words = ["train", *LONG, "hooks=[csv]", f"run_dir={run.path}"]
    command = Command(*words, code=slow + "import sys; from dlzoo.cli import main; main(sys.argv[1:])")
    command.wait_for(run.path / "metrics.csv", "\n2")
    command.kill()
    wait_for_end(run)
    assert state_of(run)["ended"] == "killed"
    assert table(run.path / "metrics.csv") == as_table(read_metrics(run.metrics_file))
    dlzoo_in_process("run", str(run.path))
    records = read_metrics(run.metrics_file)
    places = [place_of(record) for record in records]
    assert places == sorted(places) and places[-1] == [150, 2]
    assert table(run.path / "metrics.csv") == as_table(records)
    assert state_of(run)["ended"] == "finished"


def state_of(run: RunDir, name: str = "csv") -> dict[str, Any]:
    return json.loads((run.path / "hooks" / f"{name}.json").read_text())


def wait_for_end(run: RunDir, name: str = "csv") -> None:
    """Wait until a logger has ended, which outlives a run that was killed."""
    deadline = time.monotonic() + 60
    while is_locked(run.path / "hooks" / f".{name}.lock") or not state_of(run, name)["ended"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("hangs", "note"),
    [
        (False, r"hook lost: 17 of 17 records could not be sent \(ConnectionRefusedError: no route to host\)"),
        (True, r"hook lost: 17 of 17 records could not be sent \(it took too long\)"),
    ],
)
def test_a_logger_that_is_lost_is_one_note(
    hangs: bool, note: str, cache_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("lost.py").write_text(
        "import dlzoo\nfrom dlzoo.engine.hooks.follower_hook import FollowerHook\n"
        '@dlzoo.HOOKS.register("lost")\ndef lost(*, hangs: bool = False):\n    """Lost."""\n'
        '    return FollowerHook("lost", "tests.engine.lost_sender:LostSender", {"hangs": hangs}, limit=2)\n'
    )
    words = [*(word for word in SMALL if "epochs" not in word), "trainer.max_epochs=4", "trainer.log_every=2"]
    with pytest.warns(Note, match=note + "; metrics.jsonl has every record"):
        run = train("parts=./lost.py", *words, "hooks=[lost]", f"hook.lost.hangs={str(hangs).lower()}")
    assert RunDir(run.dir).read()["state"] == "finished"


@pytest.mark.parametrize("sent", [0, 3])
def test_a_follower_that_has_ended_stops_no_training(tmp_path: Path, sent: int) -> None:
    write(tmp_path, RECORDS)
    if sent:  # by a process of the run before it was interrupted
        (tmp_path / "hooks").mkdir()
        State(tmp_path / "hooks" / "gone.json", sent=sent, unsent=0, ended="interrupted").write()
    hook = FollowerHook("gone", "no.such.module:Sender", {}, limit=2)
    (tmp_path / "run.json").write_text('{"config": {}}')
    hook.fit_start(HookStart(tmp_path, {}, 0))
    time.sleep(0.5)
    for _ in range(100_000 // 4):  # more than a pipe holds
        hook.epoch_end(1)
    with pytest.warns(Note, match=rf"hook gone: {4 - sent} of 4 records could not be sent \(its process ended\)"):
        hook.fit_end({})
    with (tmp_path / "other").open("wb"):  # it may have the descriptor that the pipe had
        hook.exception(Interrupted())
    assert (tmp_path / "other").read_bytes() == b""


def test_the_loop_calls_nothing_for_a_logger_but_at_the_ends_of_epochs() -> None:
    hook = FollowerHook("any", "no.such.module:Sender", {})
    assert [event for event in ("log", "checkpoint", "epoch_end") if overrides(hook, Hook, event)] == ["epoch_end"]
    assert len(RunHooks({"any": hook}).callbacks()) == 1
    assert RunHooks({}).callbacks() == RunHooks({"board": TensorBoard()}).callbacks() == []


def test_following_costs_no_torch() -> None:
    code = (
        "import sys; [__import__(f'dlzoo.engine.hooks.{name}') for name in sys.argv[1:]];"
        " print(not {'torch', 'pytorch_lightning', 'hydra', 'numpy'} & set(sys.modules))"
    )
    names = ["csv_file", "mlflow_tracking", "wandb_run"]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("runs", "MLflow 3 does not write to plain folders; type a SQLite file"),
        ("./mlruns", "does not write to plain folders"),
        ("file:///tmp/mlruns", "does not write to plain folders"),
        ("htp://host:5000", "unknown scheme 'htp'; type a SQLite file, sqlite:///mlflow.db, or a server"),
        ("sqlite://mlflow.db", "a path follows three slashes"),
        ("sqlite:///no/such/folder/x.db", "its folder does not exist"),
    ],
)
def test_a_tracking_uri_that_cannot_be_is_one_line(uri: str, reason: str) -> None:
    with pytest.raises(UserError, match=r"hook\.mlflow\.tracking_uri=") as error:
        resolve(uri)
    assert reason in str(error.value)


def test_a_sqlite_file_is_found_from_another_folder() -> None:
    assert resolve("sqlite:///my.db") == f"sqlite:///{Path('my.db').absolute()}"
    assert resolve("http://host:5000") == "http://host:5000"


@pytest.mark.parametrize(
    ("variable", "setting", "expected"),
    [
        (None, "auto", "offline"),
        ("online", "auto", "online"),
        ("disabled", "auto", "disabled"),
        ("disabled", "offline", "offline"),
    ],
)
def test_wandb_follows_the_variable_of_its_users(
    variable: str | None, setting: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    memory: dict[str, Any] = {}
    assert WandbSender("dlzoo", None, setting).starts_over(memory) == (expected == "offline")
    assert memory["mode"] == expected
    monkeypatch.setenv("WANDB_MODE", "online" if expected != "online" else "offline")
    assert WandbSender("dlzoo", None, "auto").starts_over(memory) == (expected == "offline")  # it stays one run
