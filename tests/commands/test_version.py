"""`dlzoo --version`: what a bug report needs."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import dlzoo
from dlzoo.cli import main

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "numpy")


def _facts(text: str) -> dict[str, str]:
    return {name: " ".join(fact) for name, *fact in map(str.split, text.splitlines())}


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_versions_and_hardware(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 0
    found = _facts(capsys.readouterr().out)
    assert found["dlzoo"] == dlzoo.__version__
    assert found["python"] == platform.python_version()
    assert {name: found[name] for name in PACKAGES} == {name: version(name) for name in PACKAGES}
    assert found["torch"].startswith(f"{torch.__version__} (C")
    assert found["CPU"].startswith(f"{os.cpu_count()} cores")
    assert (found["GPU"] == "none that torch can use") == (torch.cuda.device_count() == 0)
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    in_checkout = (REPOSITORY / ".git").exists() and done.returncode == 0
    assert found["commit"].removesuffix("-dirty") == (done.stdout.strip() if in_checkout else "none (not a checkout)")


def test_an_installation_that_is_broken_is_described_too(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.99: no such file')")
    code = "import sys; from dlzoo.cli import main; sys.exit(main(['--version']))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = _facts(done.stdout)
    assert found["GPU"] == "not checked: libcudart.so.99: no such file"
    assert found["torch"] == version("torch")
    assert found["numpy"] == version("numpy")
