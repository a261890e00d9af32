"""Runs whose data was moved, or that are run from another folder; and checkpoints with other content."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dlzoo.cli import main
from dlzoo.core.errors import UserError
from dlzoo.runs.run_dir import RunDir
from tests.conftest import draw_pictures
from tests.engine.test_damage import stopped
from tests.small import same, train, weights

CSV = ["data=csv", "data.target=y", "model=linear", "data.batch_size=16", "trainer.max_epochs=2", "trainer=cpu"]


def write_table(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(seed)
    path.write_text("x,y\n" + "".join(f"{numbers.random()},{number % 2}\n" for number in range(60)))


def metrics(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def run() -> RunDir:
    """A finished run on data.path=data/t.csv, relative to here."""
    write_table(Path("data/t.csv"))
    return RunDir(train(*CSV, "data.path=data/t.csv", "run_dir=run").dir)


def test_the_config_keeps_what_was_typed_and_the_record_the_absolute_path(run: RunDir) -> None:
    assert "path: data/t.csv\n" in run.config_file.read_text()
    record = run.read()
    assert record["config"]["data"]["path"] == "data/t.csv"
    assert record["paths"] == {"data.path": str(Path("data/t.csv").absolute())}


@pytest.mark.parametrize("other", [False, True], ids=["nothing there", "other data of the same name there"])
def test_data_is_found_from_another_folder(
    other: bool, run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metrics(["eval", "run=run"], capsys)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    if other:
        write_table(Path("data/t.csv"), seed=1)
    assert metrics(["eval", "run=../run"], capsys) == before


def test_a_project_that_was_moved_needs_no_word(
    run: RunDir, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metrics(["eval", "run=run"], capsys)
    Path("moved").mkdir()
    for name in ("run", "data"):
        shutil.move(name, "moved")
    monkeypatch.chdir("moved")
    assert metrics(["eval", "run=run"], capsys) == before


def test_data_that_was_moved_is_named(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    before = metrics(["eval", "run=run"], capsys)
    shutil.move("data", "moved")
    assert "set data.path=" in one_line(["eval", "run=run"], capsys)
    assert metrics(["eval", "run=run", "data.path=moved/t.csv", "data.cache=none"], capsys) == before
    write_table(Path("other.csv"), seed=1)
    assert "the data has changed" in one_line(["eval", "run=run", "data.path=other.csv"], capsys)
    assert "no such setting" in one_line(["eval", "run=run", "data.root=moved"], capsys)


@pytest.mark.parametrize("word", ["data.limit=5", "model=mlp", "seed=1", "optimizer.lr=1"])
def test_nothing_but_places_can_be_changed_when_a_run_is_resumed(
    word: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stopped(monkeypatch, "on_train_epoch_end")
    assert "a run keeps the settings that it was started with" in one_line(["run", "run", word], capsys)
    assert run.read()["state"] == "interrupted"


@pytest.mark.parametrize("kind", ["gone", "changed", "a folder"])
def test_a_run_whose_data_is_missing_stays_interrupted(
    kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(Path("data/t.csv"))
    whole = train(*CSV, "data.path=data/t.csv", "run_dir=whole")
    monkeypatch.setattr("tests.engine.test_damage.SMALL", CSV)
    run = stopped(monkeypatch, "on_train_epoch_end", "data.path=data/t.csv")
    shutil.move("data/t.csv", "moved.csv")
    if kind == "changed":
        write_table(Path("data/t.csv"), seed=1)
    elif kind == "a folder":
        Path("data/t.csv").mkdir()
    line = one_line(["run", "run"], capsys)
    assert {"gone": "set data.path=", "changed": "the data has changed", "a folder": "is a directory"}[kind] in line
    assert run.read()["state"] == "interrupted"
    assert main(["run", "run", "data.path=moved.csv"]) == 0
    record = run.read()
    assert record["state"] == "finished" and record["error"] is None
    assert record["paths"] == {"data.path": str(Path("moved.csv").absolute())}
    assert same(weights(run), weights(whole))
    assert metrics(["eval", "run=run"], capsys) == metrics(["eval", "run=whole", "data.path=moved.csv"], capsys)


def test_images_that_were_moved(capsys: pytest.CaptureFixture[str], cache_home: Path) -> None:
    for name in ("dark", "light"):
        draw_pictures(Path("p", name), 20)
    small = ["model=linear", "data.image_size=8", "data.batch_size=8", "trainer.max_epochs=1", "trainer=cpu"]
    train("data=image_folder", "data.root=p", *small, "run_dir=run")
    before = metrics(["eval", "run=run"], capsys)
    shutil.move("p", "moved")
    assert "set data.root=" in one_line(["eval", "run=run"], capsys)
    assert metrics(["eval", "run=run", "data.root=moved"], capsys) == before
    assert not list(Path("run").glob("eval*/**/*moved*"))
    answers = metrics(["predict", "run=run", "moved/dark/000.png", "data.root=moved"], capsys)
    assert "moved/dark/000.png" in str(answers)


Change = Callable[[dict[str, Any]], object]
LIGHTNING = ["epoch", "global_step", "pytorch-lightning_version", "loops", "optimizer_states", "lr_schedulers"]
TASK = ["clock", "logged", "window", "latest", "best", "train_seconds"]
CHANGES: dict[str, Change] = {
    **{
        f"{name} is missing": lambda content, name=name: content.pop(name)
        for name in [*LIGHTNING, "state_dict", "task"]
    },
    **{f"{name} of task is missing": lambda content, name=name: content["task"].pop(name) for name in TASK},
    **{
        f"{name} is": lambda content, name=name: content.update({name: "x"})
        for name in ["epoch", "state_dict", "loops"]
    },
    **{f"{name} of": lambda content, name=name: content["task"].update({name: "x"}) for name in TASK},
    "kept of": lambda content: content["task"].update(kept=[(0.5, "x")]),
    "state_dict is not": lambda content: content.update(state_dict=None),
    "state_dict is not tensors": lambda content: content.update(state_dict={}),
    "state_dict is not tensors by": lambda content: content.update(state_dict={1: torch.zeros(1)}),
    "task is": lambda content: content.update(task=[1]),
    "optimizer_states is not": lambda content: content.update(optimizer_states=[None]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_with_other_content_is_one_line(
    change: str, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(run.last_checkpoint, weights_only=True)
    CHANGES[change](content)
    for path in (run.last_checkpoint, run.best_checkpoint):
        path.unlink()
        torch.save(content, path)
    assert change in one_line(["eval", "run=run"], capsys)
    run.update(state="interrupted")
    line = one_line(["run", "run"], capsys)
    assert change in line and str(run.last_checkpoint) in line
    if "state_dict" in change:
        assert "contains no weights" in one_line(["train", *CSV, "data.path=data/t.csv", "init_from=run"], capsys)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_type_are_refused(dtype: torch.dtype) -> None:
    write_table(Path("t.csv"))
    run = RunDir(train(*CSV, "data.path=t.csv", "run_dir=run").dir)
    state = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    torch.save({key.removeprefix("network."): value.to(dtype) for key, value in state.items()}, "w.pt")
    with pytest.raises(UserError, match=f"weights of another model.*{dtype}"):
        train(*CSV, "data.path=t.csv", f"init_from={os.path.abspath('w.pt')}")
