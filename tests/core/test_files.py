"""Files that are none, that may not be read or whose names are too long: one line with the path; and the umask."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlzoo.cli import main
from dlzoo.config.executor import parse_executor
from dlzoo.core.errors import Note, UserError
from dlzoo.core.files import one_line_refusals, regular, replacing
from dlzoo.runs.run_dir import RunDir, write_atomically
from tests.conftest import draw_pictures
from tests.fake_runs import write_sweep

LONG = "y" * 300


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """An error after 20 seconds, of a test that waits for a pipe."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def permissions() -> Iterator[None]:
    """Obey permissions: root reads everything otherwise."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, held = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, held) != 0:
        pytest.skip("root that cannot give up capabilities")
    less = (ctypes.c_uint32 * 6)(*held)
    less[0] &= ~0b110  # of those in effect: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    if libc.capset(header, less) != 0:
        pytest.skip("root that cannot give up capabilities")
    yield
    libc.capset(header, held)


def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_only_regular_files_and_folders_are_opened(kind: str, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    with pytest.raises(OSError, match=f"{kind}, not a file"):
        regular(path)
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "missing")
    (tmp_path / "file").write_text("x")
    assert regular(tmp_path / "file").read_text() == "x"


CSV = ("train", "data=csv", "data.target=y", "model=linear", "trainer=cpu")


@pytest.mark.parametrize(
    "words",
    [
        [*CSV, "data.path={}"],
        [*CSV, "data.path=table.csv", "data.test_path={}"],
        ["train", "model=linear", "init_from={}", "trainer=cpu"],
        ["train", "data=coco_json", "data.root=.", "data.train={}"],
        ["train", "data=yolo_txt", "data.root=yolo"],
    ],
    ids=" ".join,
)
def test_a_pipe_is_refused_and_never_waited_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    Path("table.csv").write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(20)))
    Path("yolo/images").mkdir(parents=True)
    Path("yolo/labels").mkdir()
    os.mkfifo("yolo/classes.txt")
    os.mkfifo("yolo/images/a.jpg")
    line = one_line([word.replace("{}", "pipe") for word in words], capsys)
    assert "pipe" in line or "a.jpg" in line or "yolo" in line


@pytest.mark.parametrize("file", ["run.json", "config.yaml", "metrics.jsonl"])
def test_a_pipe_in_a_run_is_no_reason_to_wait(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("runs"), [["model=mlp"], ["model=linear"]], [0], lambda config, seed: 0.5)
    path = next(Path("runs").glob("*mlp*")) / file
    path.unlink()
    os.mkfifo(path)
    assert main(["runs", "runs"]) == 0
    assert "finished" in capsys.readouterr().out
    if file != "metrics.jsonl":
        assert str(path.parent) in one_line(["eval", f"run={path.parent}"], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "run_dir={}", "model=linear"],
        ["train", "run_dir=a/{}/b", "model=linear"],
        ["runs", "{}"],
        ["report", "{}"],
        ["diff", "{}", "{}"],
        ["eval", "run={}"],
        ["predict", "run={}", "x"],
        ["run", "{}"],
        ["train", "data=image_folder", "data.root={}"],
        ["train", "data=yolo_txt", "data.root={}"],
        [*CSV, "data.path={}"],
        ["train", "init_from={}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", [LONG, "z/" * 2500], ids=["name", "path"])
def test_a_name_that_is_too_long_is_one_line(words: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = one_line([word.replace("{}", name) for word in words], capsys)
    assert ("name too long" in line or "at most 4,096 bytes" in line) and name[:50] in line and len(line) < 240


@pytest.mark.parametrize(
    "words",
    [["train", "run_dir=locked/x", "model=linear"], ["runs", "locked/in"], ["runs", "locked"], ["report", "locked"],
     ["eval", "run=locked/in"], ["run", "locked/in"], ["diff", "locked/a", "locked/b"],
     ["train", "data=image_folder", "data.root=locked/p"], [*CSV, "data.path=locked/t.csv"],
     ["train", "init_from=locked/w.pt"]],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.usefixtures("permissions")
def test_a_folder_that_may_not_be_entered_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked/in").mkdir(parents=True)
    Path("locked").chmod(0)
    try:
        line = one_line(words, capsys)
    finally:
        Path("locked").chmod(0o755)
    assert "permission denied" in line and "locked" in line


@pytest.mark.usefixtures("permissions")
def test_a_class_folder_that_may_not_be_read_is_not_empty(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog"):
        draw_pictures(Path("p", name), 4)
    Path("p/dog").chmod(0)
    try:
        line = one_line(["train", "data=image_folder", "data.root=p"], capsys)
    finally:
        Path("p/dog").chmod(0o755)
    assert "p/dog: cannot be read (permission denied)" in line and "remove" not in line


@pytest.mark.usefixtures("permissions")
def test_runs_beside_a_locked_folder_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("runs"), [["model=mlp"]], [0], lambda config, seed: 0.5)
    Path("runs/locked").mkdir(mode=0)
    with pytest.warns(Note, match="runs/locked: permission denied; left out"):
        assert main(["runs", "runs"]) == 0
    assert "1 run: 1 finished" in capsys.readouterr().out


def test_an_error_of_this_program_stays_a_traceback() -> None:
    with pytest.raises(FileNotFoundError), one_line_refusals():
        Path("missing").read_text()
    with pytest.raises(UserError, match=r"^missing/x: not a directory$"), one_line_refusals():
        Path("missing").write_text("")
        Path("missing/x").read_text()


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_files_obey_the_umask(mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(Path("a"), "x")
        with replacing(Path("b")) as aside:
            aside.write_text("x")
        run = RunDir.create(Path("run"), {"name": None})
        run.update(error="x")
    finally:
        os.umask(before)
    for path in (Path("a"), Path("b"), run.config_file, run.state_file):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path
    assert json.loads(run.state_file.read_text())["error"] == "x"
    assert {path.name for path in Path().iterdir()} == {"a", "b", "run"}


def test_an_error_while_writing_leaves_the_old_file() -> None:
    write_atomically(Path("a"), "old")
    with pytest.raises(KeyError), replacing(Path("a")) as aside:
        aside.write_text("new")
        raise KeyError
    assert [path.read_text() for path in Path().iterdir()] == ["old"]


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint"])
@pytest.mark.parametrize("end", ["\n", "\r", "\n#SBATCH --wrap=x", "\u2028y"])
def test_settings_of_a_job_have_no_line_breaks(key: str, end: str) -> None:
    with pytest.raises(UserError, match=f"executor.{key}=.* has a line break"):
        parse_executor(["executor=slurm", f'executor.{key}="gpu{end}z"'])
    kind, settings = parse_executor(["executor=slurm", f"executor.{key}=gpu"])
    assert kind == "slurm" and getattr(settings, key) == "gpu"
