"""The recipes of docs/extending.md: as a package of somebody else, trained by the commands of that page."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import pytest

import dlzoo
from dlzoo.runs.run_dir import RunDir
from tests.docs.pages import PAGES, REPOSITORY, python_blocks
from tests.docs.test_commands import is_recipe
from tests.processes import Command
from tests.small import SMALL, last_of_each

(PAGE,) = [page for page in PAGES if page.name == "docs/extending.md"]
#: What the file that a recipe is added to has imported already.
HEAD = """
import torch
from torch import Tensor, nn
from dlzoo.core.schema import Positive
from dlzoo.layers.norm import AffineNorm
from dlzoo.core.registries import NORMS
"""
QUICK = "data.limit=60 data.batch_size=20 trainer.max_epochs=1 trainer.limit_batches=2 trainer=cpu trainer.threads=1"

#: Runs each of some command lines, and tells what came of it.
SCRIPT = """
import json, sys
from pathlib import Path
import torch
import dlzoo
from dlzoo import config as configs
from dlzoo.cli import main
for module in ("", ".defaults", ".compose", ".conf_files", ".with_hydra"):
    sys.modules[f"dlzoo.config{module}"].conf_dir = lambda: Path(sys.argv[1])

network = dlzoo.build_model("my_net", num_classes=3, norm="rms", width=8)
x = torch.randn(2, 3, 16, 16)
loss = dlzoo.build_loss("confidence_penalty", beta=0.0)(network(x), torch.tensor([0, 1]))
torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 1])))
rows = dlzoo.build("norm", "rms")(3)(x).square().mean((1, 2, 3))
torch.testing.assert_close(rows, torch.ones(2), rtol=1e-3, atol=1e-3)

weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
optimizer = dlzoo.build("optimizer", "signum", lr=0.1, beta=0.5, weight_decay=1.0)([weight])
weight.grad = torch.tensor([-0.5, 0.5])  # with the decay 0.5 and -1.5
optimizer.step()
torch.testing.assert_close(weight.data, torch.tensor([0.9, -1.9]))

for words in json.loads(sys.argv[2]):
    assert main(words) == 0, words
"""


def package(site: Path) -> None:
    """The Python recipes as the modules of an installed package, with the entry points of the page."""
    _, model, norm, loss, optimizer, data, *_ = python_blocks("extending")
    (site / "my_package").mkdir(parents=True)
    (site / "my_package" / "__init__.py").touch()
    modules = {"models": model, "norms": HEAD + norm, "losses": loss, "optimizers": optimizer, "sets": data}
    for name, code in modules.items():
        (site / "my_package" / f"{name}.py").write_text(code)
    (toml,) = [block.content for block in PAGE.blocks if block.language == "toml"]
    points = tomllib.loads(toml)["project"]["entry-points"]
    assert points == {"dlzoo.model": {"my_models": "my_package.models"}}
    groups = {"dlzoo.model": "models", "dlzoo.norm": "norms", "dlzoo.loss": "losses"}
    groups |= {"dlzoo.optimizer": "optimizers", "dlzoo.data": "sets"}
    info = site / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1\n")
    text = "\n".join(f"[{group}]\nmy_{name} = my_package.{name}" for group, name in groups.items())
    (info / "entry_points.txt").write_text(text)


def commands() -> list[list[str]]:
    """The commands of the page that are about its recipes, made small."""
    found = []
    for number, command in enumerate(each for each in PAGE.commands if is_recipe(each)):
        if command.text.split()[:2] in (["dlzoo", "show"], ["dlzoo", "list"]):
            if len(command.words) > 2:
                found.append(command.words[1:])
        elif command.text.startswith("python train.py"):
            words = command.words[2:]
            added = [*shlex.split(QUICK), f"run_dir=outputs/{number}"]
            if "-m" in words:
                added = [*shlex.split(QUICK), "model.width=4", "seed=0"]
            elif "scale=tiny" in words:
                added = [*shlex.split(QUICK.replace("trainer=cpu ", "")), "model.width=4", "seeds=1"]
            keys = {word.partition("=")[0] for word in added}
            found.append(["train", *(word for word in words if word.partition("=")[0] not in keys), *added])
    return [words for place, words in enumerate(found) if words not in found[:place]]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """conf/ with the experiment of the page."""
    (yaml,) = [block.content for block in PAGE.blocks if block.language == "yaml"]
    folder = tmp_path / "conf"
    for path in (REPOSITORY / "conf").rglob("*.yaml"):
        target = folder / path.relative_to(REPOSITORY / "conf")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    (folder / "experiment" / "my_question.yaml").write_text(yaml)
    return folder


def test_the_recipes_work_as_they_are_written(tmp_path: Path, conf: Path) -> None:
    package(tmp_path / "site")
    Path("mine.py").write_text(python_blocks("extending")[0])
    environment = {"PYTHONPATH": str(tmp_path / "site"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["XDG_DATA_HOME"] = str(tmp_path / "data")
    lines = commands()
    assert len(lines) == 13
    command = Command(str(conf), json.dumps(lines), environment=environment, code=SCRIPT, one_process=True)
    output, errors = command.communicate()
    assert command.returncode == 0, errors
    assert "model=my_net\n" in output
    assert "estimate    2 to run" in output
    records = [RunDir.open(path.parent).read() for path in sorted(Path("outputs").rglob("run.json"))]
    assert all(record["state"] == "finished" and "test/accuracy" in record["metrics"] for record in records)
    named = {choice: {record["config"][choice]["name"] for record in records} for choice in ("model", "norm", "loss")}
    assert "my_net" in named["model"] and "rms" in named["norm"] and "confidence_penalty" in named["loss"]
    assert {"signum"} < {record["config"]["optimizer"]["name"] for record in records}
    assert {"stripes"} < {record["config"]["data"]["name"] for record in records}
    assert {"relu", "mish", "squared_relu"} <= {record["config"]["act"]["name"] for record in records}
    assert Path("outputs/my_question_tiny/report/report.md").is_file()


def test_the_callback_of_the_page_sees_the_loss() -> None:
    code = python_blocks("extending")[7]
    scope: dict[str, object] = {}
    exec(code, scope)
    assert len(scope["run"].metrics) > 5  # pyright: ignore
    callback = scope["LogLoss"]()  # pyright: ignore
    dlzoo.train(last_of_each([*SMALL, "trainer.max_epochs=2"]), quiet=True, callbacks=[callback])
    assert len(callback.losses) == 2 and all(float(loss) > 0 for loss in callback.losses)


def test_the_objects_of_the_page_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    train = dlzoo.train
    monkeypatch.setattr(dlzoo, "train", lambda *a, **kw: train(*a, quiet=True, **kw), raising=False)
    scope: dict[str, object] = {}
    exec(python_blocks("extending")[8], scope)
    assert scope["run"].metrics["test/accuracy"] > 0.9  # pyright: ignore


def test_the_notebook_lines_of_getting_started(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = python_blocks("getting_started")
    small = ["model.growth_rate=4", *shlex.split(QUICK)]
    train = dlzoo.train
    monkeypatch.setattr(dlzoo, "train", lambda words: train(last_of_each([*words, *small]), quiet=True), raising=False)
    scope: dict[str, object] = {}
    exec(code, scope)
    assert 0 <= scope["run"].metrics["test/accuracy"] <= 1  # pyright: ignore
    assert scope["run"].dir.is_dir()  # pyright: ignore
    assert callable(scope["loss"]) and callable(scope["network"])
