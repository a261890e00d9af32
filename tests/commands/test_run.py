"""`dlzoo run DIR` with settings: the places of its data may change; for other settings it says what is possible."""

import re
import shlex
from pathlib import Path

import pytest

from dlzoo.cli import main
from dlzoo.config import compose
from dlzoo.runs.differences import flatten
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.typed import settings_to_type

RUNS = [
    [],
    ["model=densenet121", "norm=gn", "norm.num_groups=8", "optimizer=adam", "optimizer.lr=0.01", "seed=3"],
    ["data=shapes", "model=retinanet", "backbone=resnet18", "backbone.width=16", "trainer.max_epochs=2"],
    ["trainer=debug", "data.batch_size=full", "model=mlp", "model.hidden=[8,4]", "trainer.ema=0.9", "name=x"],
    ["experiment=resnet20_cifar10"],
    ["data=csv", "data.path=my table.csv", "data.target=price", "data.missing=[NA,-999]"],
]


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_the_settings_to_type_a_config_compose_to_it(words: list[str]) -> None:
    made = compose(words)
    found = settings_to_type(made)
    assert found is not None
    assert flatten(compose(shlex.split(" ".join(found)))) == flatten(made)
    assert len(found) <= len(words) + (12 if "experiment" in str(words) or "trainer=" in str(words) else 0)


@pytest.mark.parametrize("settings", [["model=mlp", "model.hidden=[16]", "trainer.max_epochs=3"], []])
@pytest.mark.parametrize("command", ["run {} trainer.max_epochs=40", "train resume={} trainer.max_epochs=40"])
def test_a_longer_run_is_a_new_one(
    command: str, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "a run"
    run = RunDir.create(path, compose(settings))
    before = run.state_file.read_text()
    assert main([word.format(path) for word in command.split(" ")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "trainer.max_epochs=40: a run keeps the settings that it was started with" in line
    further, longer = (shlex.split(typed) for typed in re.findall("`([^`]+)`", line))
    assert longer == ["dlzoo", "train", *settings[:2], "trainer.max_epochs=40"]
    assert further == [*longer, f"init_from={path}"]
    assert compose(further[2:])["init_from"] == str(path)
    assert run.state_file.read_text() == before


def test_the_commands_are_shorter_where_settings_cannot_be_typed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = compose([])
    RunDir.create(tmp_path / "x", config | {"norm": config["norm"] | {"name": "of_a_plug_in"}})
    assert main(["run", str(tmp_path / "x"), "seed=3"]) == 2
    assert "`dlzoo train ... seed=3`" in capsys.readouterr().err
