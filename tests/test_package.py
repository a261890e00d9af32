"""The wheel, and the house's promises about imports."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from dlzoo.core import index
from tests.processes import Command

REPOSITORY = Path(__file__).parent.parent


def python(code: str, folder: Path, *path: Path, **variables: str) -> str:
    environment = {"PYTHONPATH": ":".join(map(str, path)), "PATH": "/usr/bin:/bin", "HOME": str(folder)} | variables
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_installed_dlzoo_works_outside_a_checkout(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        assert {"dlzoo/conf/config.yaml", "dlzoo/py.typed"} <= set(archive.namelist())
    # Composing would build the index of the installed copy, for ten seconds.
    code = (
        "import dlzoo.config.defaults as d; print(d.__file__, d.file_of('trainer', 'cpu'), d.default_choices()['data'])"
    )
    *paths, data = python(code, tmp_path, tmp_path / "site").split()
    assert all(Path(path).is_relative_to(tmp_path) and Path(path).is_file() for path in paths)
    assert data == "digits"


def test_importing_dlzoo_imports_no_torch(tmp_path: Path) -> None:
    code = """
import sys
import dlzoo
from dlzoo import MODELS, NORMS, Metric, Plots, Report, Run, RunTable, UserError, available
from dlzoo import compare, load, report, runs, train
available("model")
print("torch" in sys.modules, "hydra" in sys.modules)
"""
    index.load()  # made, if the sources are new
    folder = str(Path(user_cache_path("dlzoo")).parent)
    assert python(code, tmp_path, REPOSITORY, XDG_CACHE_HOME=folder).split() == ["False", "False"]


def test_every_public_name_works_more_than_once() -> None:
    code = """
import dlzoo
for _ in range(2):
    dlzoo.build_model("mlp", num_classes=2, image_size=4)
    dlzoo.build("act", "mish"), dlzoo.build_loss("cross_entropy")
    dlzoo.train(["trainer=debug", "model=linear"], quiet=True)
    assert all(getattr(dlzoo, name) is not None for name in dlzoo.__all__)
"""
    process = Command(code=code)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


@pytest.mark.long
def test_an_architecture_alone_needs_neither_lightning_nor_hydra(tmp_path: Path) -> None:
    code = """
import sys
from dlzoo.builder.model import build_model
build_model("densenet_bc_40_12", num_classes=2)
print("pytorch_lightning" in sys.modules, "hydra" in sys.modules)
"""
    assert python(code, tmp_path, REPOSITORY).split() == ["False", "False"]


def test_a_plug_in_adds_entries_and_a_broken_one_takes_nothing_down(tmp_path: Path) -> None:
    plugin = tmp_path / "site"
    (plugin / "myzoo-1.dist-info").mkdir(parents=True)
    (plugin / "myzoo-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: myzoo\nVersion: 1\n")
    (plugin / "myzoo-1.dist-info" / "entry_points.txt").write_text(
        "[dlzoo.act]\nmine = myzoo\n[dlzoo.model]\nbroken = myzoo_broken\n"
    )
    (plugin / "myzoo.py").write_text(
        "from torch import nn\nfrom dlzoo.core.registries import ACTS\n"
        "@ACTS.register('double', source='here')\ndef double(*, slope: float = 2.0) -> nn.Module:\n"
        "    '''Twice.'''\n    return nn.Identity()\n"
    )
    (plugin / "myzoo_broken.py").write_text("1 / 0")
    code = """
import dlzoo, dlzoo.config as c
print("double" in dlzoo.available("act"), len(dlzoo.available("model")) > 20)
print(c.compose(["act=double", "act.slope=3"])["act"]["slope"])
"""
    variables = {"PYTHONPATH": str(plugin), "XDG_CACHE_HOME": str(tmp_path)}
    process = Command(code=code, environment=variables)
    assert process.communicate()[0].split() == ["True", "True", "3.0"]
