"""An own parts file with a plain copy of the repository's files, which is not installed, by processes of their own.

They run `python train.py` and `python -m dlzoo.cli` in the copy, with an interpreter that has the packages which dlzoo
needs, and not dlzoo itself.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import venv
from pathlib import Path

import pytest
from PIL import Image

from dlzoo.core.registries import NORMS
from dlzoo.runs.run_dir import RunDir
from tests.own_parts import MINE, WORDS
from tests.processes import REPOSITORY
from tests.small import logged, same, weights

#: The hook of the file, which also ends its process in the middle of the second epoch, as kill -9 does.
_LOG = """        if record["step"] == int(os.environ.get("KILLED_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
"""
KILLING = MINE.replace("from pathlib", "import os\nimport signal\nfrom pathlib", 1) + _LOG
#: The step at which it does, of 12.
KILLED_AT = 7


class Copy:
    """A copy of the tracked files, and a Python without dlzoo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "copy"
        listed = subprocess.run(["git", "-C", str(REPOSITORY), "ls-files", "-z"], capture_output=True, check=False)
        if listed.returncode:
            pytest.skip("the repository is not a git checkout")
        for name in listed.stdout.decode().split("\0"):
            if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "docs/")):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, self.folder / name)
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        # Files *.pth in folders that are added by such a file are not read: an editable installation does not count.
        (packages / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DLZOO"))}
        self.variables |= {f"XDG_{name}_HOME": str(folder / name) for name in ("DATA", "CACHE", "CONFIG")}
        self.variables["OMP_NUM_THREADS"] = "1"

    def run(self, *words: str, returncode: int = 0, **variables: str) -> str:
        """Run `python <words>` in the copy and return what it printed."""
        done = subprocess.run([str(self.python), *words], cwd=self.folder, env=self.variables | variables,
                              capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
        assert done.returncode == returncode, done.stderr
        return done.stdout

    def dlzoo(self, *words: str) -> str:
        return self.run("-m", "dlzoo.cli", *words)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    made = Copy(tmp_path)
    elsewhere = [str(made.python), "-c", "import torch, dlzoo.cli"]
    found = subprocess.run(elsewhere, cwd=tmp_path, env=made.variables, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        pytest.skip("dlzoo is installed as a package, not as an editable one")
    assert "No module named 'dlzoo" in found.stderr
    return made


@pytest.mark.long
def test_trained_swept_killed_resumed_reported_evaluated_and_predicted(copy: Copy) -> None:
    assert len(KILLING.splitlines()) < 80
    assert "rms" not in NORMS.names()
    (copy.folder / "mine.py").write_text(KILLING)
    words, log = ["parts=./mine.py", *WORDS], "trainer.log_every=1"
    copy.run("train.py", *words, log, "run_dir=whole")
    killed = [*words, log, "trainer.checkpoint_every=2", "run_dir=killed"]
    copy.run("train.py", *killed, returncode=-9, KILLED_AT=str(KILLED_AT))
    run = RunDir(copy.folder / "killed")
    assert json.loads((run.path / "run.json").read_text())["state"] == "running"  # it could write nothing more
    assert run.resume_checkpoint() is not None
    copy.dlzoo("run", "killed")
    whole = RunDir(copy.folder / "whole")
    assert same(weights(run), weights(whole))
    assert logged(run.path) == logged(whole.path)
    assert run.read()["metrics"] == whole.read()["metrics"]
    tested = json.loads(copy.dlzoo("eval", "run=killed", "--json"))
    assert tested.items() <= run.read()["metrics"].items()
    Image.new("L", (8, 8)).save(copy.folder / "a.png")
    assert "rows" in copy.dlzoo("predict", "run=killed", "a.png")
    swept = [word for word in words if not word.startswith("norm=")]
    copy.run("train.py", "-m", *swept, "name=norms", "norm=bn,gn,rms", "seed=0")
    names = [
        RunDir(path.parent).read()["config"]["norm"]["name"] for path in copy.folder.glob("outputs/norms/*/run.json")
    ]
    assert sorted(names) == ["bn", "gn", "rms"]
    copy.dlzoo("report", "outputs/norms")
    assert "rms" in (copy.folder / "outputs/norms/report/report.md").read_text()
