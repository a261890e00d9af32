"""Parts from files: available everywhere, copied to the run, imported only by those who have used them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

import dlzoo
from dlzoo.cli import main
from dlzoo.core import index, own_parts
from dlzoo.core.errors import Note
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from tests.own_parts import MINE, WORDS
from tests.processes import dlzoo as dlzoo_in_process
from tests.small import last_of_each, logged, same, weights

#: The words of a run of one epoch.
SHORT = last_of_each([*WORDS, "trainer.max_epochs=1"])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of these tests, so that the index of entries is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def mine(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """parts=./mine.py"""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("mine.py").write_text(MINE)
    return "parts=./mine.py"


@pytest.fixture(scope="module")
def whole(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all the parts, and its data folder beside it: `used`, where the file counts as used before."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mine.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("dlzoo.builder.results.draw", lambda *made: {})
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("XDG_DATA_HOME", str(folder / "used"))
        run("train", "parts=./mine.py", *WORDS, "run_dir=whole")
    return folder / "whole"


def run(*words: str) -> str:
    assert main([*words]) == 0
    return words[0]


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert main([*words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlzoo: ")
    return line


def test_a_file_is_short_enough_to_be_read() -> None:
    assert len(MINE.splitlines()) < 80


def test_trained_killed_resumed_evaluated_predicted_and_reported(
    mine: str, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, "whole")
    on_end = TaskModule.on_validation_epoch_end

    def stop(self: TaskModule) -> None:
        on_end(self)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_validation_epoch_end", stop)
        assert main(["train", mine, *WORDS, "run_dir=killed"]) == 130
    Path("mine.py").write_text(MINE.replace("torch.rsqrt", "torch.sqrt"))
    with pytest.warns(Note, match=r"mine\.py has changed since .* created; it goes on with its copy, killed"):
        run("run", "killed")
    assert same(weights(RunDir(Path("killed"))), weights(RunDir(Path("whole"))))
    assert logged(Path("killed")) == logged(Path("whole"))
    assert Path("whole/parts/mine.py").read_text() == MINE
    assert {*Path("killed/mine.txt").read_text().split()} == {*Path("whole/mine.txt").read_text().split()} > {"4"}
    assert list(RunDir(Path("whole")).read()["parts"]) == ["mine.py"]
    Image.new("L", (8, 8)).save("a.png")
    capsys.readouterr()
    run("eval", "run=whole", "--json")
    trained = RunDir(Path("whole")).read()["metrics"]
    assert json.loads(capsys.readouterr().out).items() <= trained.items()
    run("predict", "run=whole", "a.png")
    assert "rows" in capsys.readouterr().out
    run("report", ".", "--out", "report")
    run("runs", ".")
    run("diff", "whole", "killed")


def test_in_a_sweep_with_processes_of_its_own(mine: str) -> None:
    words = [word for word in SHORT if not word.startswith("norm=")]
    dlzoo_in_process("train", "-m", mine, "name=norms", "norm=bn,gn,rms", "seed=0", *words, fork=True)
    runs = [RunDir(path.parent) for path in Path("outputs/norms").glob("*/run.json")]
    assert sorted(each.read()["config"]["norm"]["name"] for each in runs) == ["bn", "gn", "rms"]
    assert all((each.path / "parts" / "mine.py").read_text() == MINE for each in runs)
    assert "parts=" in Path("outputs/norms/sweep.json").read_text()


def test_a_sweep_does_not_mix_versions(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", "name=s", *SHORT, "seed=0"]
    from dlzoo.sweep.plan import plan
    from dlzoo.sweep.request import parse_sweep
    from dlzoo.sweep.scheduler import create

    with own_parts.typed_parts([mine]):
        create(plan(parse_sweep(words[1:])).runs)
    Path("mine.py").write_text(MINE + "# changed\n")
    assert "was created with other parts (mine.py); set another name=" in error(capsys, "train", mine, *words)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["list", "norm"], "rms"),
        (["list", "data"], "stripes"),
        (["list", "hook"], "steps"),
        (["show", "norm", "rms"], "norm.eps=1e-06"),
        (["show", "model", "two_layers", "norm=rms"], "arXiv:1910.07467"),
    ],
)
def test_everywhere_as_if_installed(
    words: list[str], printed: str, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*words, mine)
    if words[-1] != "norm=rms":
        assert printed in capsys.readouterr().out
    assert main(words) == (2 if words[0] == "show" else 0)  # it was used for that command only
    assert printed not in capsys.readouterr().out


def test_typos_and_completion(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown norm 'rmss'; did you mean norm=rms?" in error(capsys, "train", mine, "norm=rmss")
    assert "did you mean norm.eps=1?" in error(capsys, "train", mine, "norm=rms", "norm.ep=1")
    run("completion", "--line", f"dlzoo train {mine} norm=rm")
    assert capsys.readouterr().out.split() == ["rms"]
    run("completion", "--line", "dlzoo train parts=./no.py norm=b")
    assert "bn" in capsys.readouterr().out.split()


def test_the_variable_and_several_files_and_folders(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    Path("folder/blocks.py").write_text("from torch import nn\n\nclass Twice(nn.Module):\n    pass\n")
    Path("folder/acts.py").write_text(
        "import dlzoo\nfrom .blocks import Twice\n\n"
        "@dlzoo.ACTS.register('twice')\ndef twice() -> Twice:\n    return Twice()\n"
    )
    with own_parts.typed_parts([mine, "parts=folder"]):
        assert {"rms"} < {*dlzoo.available("norm")} and "twice" in dlzoo.available("act")
        assert type(dlzoo.build("act", "twice")).__name__ == "Twice"
    with own_parts.typed_parts(["parts=[./mine.py,folder]"]):
        assert "rms" in dlzoo.available("norm") and "twice" in dlzoo.available("act")
    assert "rms" not in dlzoo.available("norm")
    monkeypatch.setenv("DLZOO_PARTS", f"mine.py{os.pathsep}folder")
    own_parts.typed_in_environment.cache_clear()
    assert "rms" in dlzoo.available("norm") and "twice" in dlzoo.available("act")
    monkeypatch.delenv("DLZOO_PARTS")
    own_parts.typed_in_environment.cache_clear()


def test_a_detector_with_an_own_backbone(mine: str) -> None:
    with own_parts.typed_parts([mine]):
        assert "two_layers" not in dlzoo.available("backbone")  # it has no head of the registry
        assert "sharp" not in dlzoo.available("box_loss")
        assert "sharp" in index.entries("loss")


def test_a_run_of_somebody_else_needs_trust(
    mine: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, "theirs")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    for command in (["eval", "run=theirs"], ["run", "theirs"], ["predict", "run=theirs", "a.png"]):
        says = error(capsys, *command)
        assert "theirs/parts/mine.py is code that you have not used before" in says and "--trust" in says
    assert main(["report", "."]) == 0  # imports no code of the run
    run("eval", "run=theirs", "--trust")
    run("run", "theirs")
    copy = Path("theirs/parts/mine.py")
    copy.write_text(copy.read_text() + "\n")
    assert "was changed after the run was created" in error(capsys, "eval", "run=theirs", "--trust")


WRONG = {
    "no file": (None, r"none\.py: there is no such file"),
    "a notebook": (("mine.ipynb", "{}"), "parts=.*: must be a Python file"),
    "an empty folder": (("folder/a.txt", ""), "parts=.*folder: it has no Python files"),
    "syntax": (("mine.py", "x = 1\nnorm = (\n"), r"mine\.py, line 2: SyntaxError: '\(' was never closed"),
    "an import that fails": (
        ("mine.py", "\nimport not_there\n"),
        r"mine\.py, line 2: ModuleNotFoundError: .*parts=FOLDER",
    ),
    "an error": (("mine.py", "def f():\n    1 / 0\n\nf()\n"), r"mine\.py, line 2, in f: ZeroDivisionError"),
    "exit": (("mine.py", "import sys\nsys.exit(3)\n"), r"mine\.py, line 2: SystemExit: 3"),
    "nothing": (("mine.py", "x = 1\n"), r"mine\.py registers nothing"),
    "a name that exists": (
        ("mine.py", "import dlzoo\n\n@dlzoo.NORMS.register('bn')\ndef bn(*, channels: int): ...\n"),
        r"mine\.py, line 3: ValueError: norm=bn is already registered by dlzoo\.layers\.norm",
    ),
    "twice": (
        ("mine.py", "import dlzoo\nfor _ in '12':\n    @dlzoo.NORMS.register('m')\n    def m(*, channels: int): ...\n"),
        r"mine\.py, line \d: ValueError: norm=m is already registered",
    ),
    "no annotation": (
        ("mine.py", "import dlzoo\n\n@dlzoo.NORMS.register('m')\ndef m(*, channels: int, eps=1.0): ...\n"),
        r"mine\.py: norm=m: the parameter 'eps' has no annotation; write its type, as in eps: float",
    ),
    "an odd type": (
        ("mine.py", "import dlzoo\n\n@dlzoo.NORMS.register('m')\ndef m(*, channels: int, eps: dict = {}): ...\n"),
        r"mine\.py: norm=m: a setting cannot have the type <class 'dict'>",
    ),
    "an unknown mark": (
        ("mine.py", "import dlzoo\n\n@dlzoo.NORMS.register('m', kind=3)\ndef m(*, channels: int): ...\n"),
        r"mine\.py, line 3: TypeError: .*'kind'",
    ),
    "an unknown registry": (
        ("mine.py", "import dlzoo\ndlzoo.NORM.register('m')\n"),
        r"mine\.py, line 2: AttributeError",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(case: str, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").unlink()
    written, says = WRONG[case]
    name = "none.py"
    if written:
        name, text = written
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    word = f"parts=./{name.partition('/')[0]}"
    for _ in range(2):
        assert re.search(says, error(capsys, "list", "norm", word))


def test_an_error_in_training_shows_the_line_of_the_file(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(MINE.replace("self.scale[:, None, None]", "self.scale[:, None]"))
    says = error(capsys, "train", mine, *WORDS, "run_dir=r")
    assert re.search(r"mine\.py, line 22, in forward: RuntimeError: ", says)


def test_two_files_that_register_the_same(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.py").write_text(MINE + "\n")
    says = error(capsys, "list", "norm", f"{mine},other.py")
    assert re.search(r"\w+=\w+ is registered by .*mine\.py and .*other\.py; rename one of them", says)
    Path("folder").mkdir()
    Path("folder/mine.py").write_text("")
    assert "have the same name" in error(capsys, "list", "norm", f"{mine},folder/mine.py")


def test_a_config_names_no_code(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("e.yaml").write_text("# @package _global_\nparts: ./mine.py\n")
    assert "parts names code, which only a command may: type parts=./mine.py" in error(
        capsys, "train", "experiment=./e.yaml"
    )


def test_a_run_goes_on_with_its_own_parts(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    dlzoo.train(["run_dir=plain", "trainer.max_epochs=1", "model=mlp", "trainer=cpu"], quiet=True)
    says = error(capsys, "eval", "run=plain", mine)
    assert "plain goes on with the parts that it was created with, not with" in says
