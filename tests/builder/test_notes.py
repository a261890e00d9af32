"""Notes before the first step: what a run can not show, reach or learn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from dlzoo.builder.model import network_from_config
from dlzoo.builder.notes import memory_notes, notes
from dlzoo.builder.profile import Profile
from dlzoo.builder.recipe import RunRecipe
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.engine.state import Best
from dlzoo.layers.norm import group_notes
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.small import CONV, last_of_each, train

WINE = ["data=wine", "model=mlp", "model.hidden=[4]", "data.batch_size=16", "trainer=cpu", "trainer.max_epochs=3"]


def notes_on(*words: str, pretrained: bool = False) -> list[str]:
    config = compose([*WINE, *words])
    data = Splits.load(config["data"])
    recipe = RunRecipe(config, data)
    config["model"]["pretrained"] = pretrained  # afterwards: there are no weights of a perceptron
    found = notes(config, data, recipe.spec, recipe.schedule, nn.Identity())
    return [note for note in found if not note.startswith("the validation split has")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["schedule.warmup=30"], "schedule.warmup=30 is longer than the run (3 epochs): optimizer.lr is never reached"),
        (["schedule.warmup=3.5"], "schedule.warmup=3.5 is longer than the run"),
        (["trainer.max_epochs=1", "schedule.warmup=2"], "is longer than the run (1 epoch)"),
        (
            ["schedule=multi_step", "schedule.milestones=[30,60]"],
            "30 and 60 are after the end of the run (3 epochs)",
        ),
        (["schedule=multi_step", "schedule.milestones=[1,3]"], "milestones: 3 are after the end of the run"),
        (
            ["schedule=step", "schedule.every=30"],
            "schedule.every=30 is not shorter than the run (3 epochs)",
        ),
        (["trainer.ema=0.9999"], "trainer.ema=0.9999 averages over about 10,000 steps, but the run has 21"),
        (["trainer.ema=0.97"], "averages over about 33 steps, but the run has 21"),
        (
            ["freeze=backbone"],
            "freeze=backbone freezes random weights: start from trained ones",
        ),
        (["freeze=1"], "freeze=1 freezes random weights"),
        (
            ["trainer.max_steps=23"],
            "trainer.max_epochs=3 ends the run after 21 steps; set trainer.max_epochs=4",
        ),
        (["trainer.max_steps=9", "schedule.warmup=2"], "schedule.warmup=2 is longer than the run (9 steps)"),
    ],
    ids=str,
)
def test_what_hardly_does_what_it_is_for_is_a_note(words: list[str], says: str) -> None:
    (note,) = notes_on(*words)
    assert says in note


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["schedule.warmup=3"],
        ["schedule.warmup=0.9"],
        ["schedule=multi_step", "schedule.milestones=[0.5,2]"],
        ["schedule=step"],
        ["schedule=step", "schedule.every=2"],
        ["trainer.ema=0.9"],
        ["trainer.max_steps=21", "schedule.warmup=3"],
        ["trainer.ema=0"],
        ["freeze=backbone", "init_from=somewhere"],
    ],
    ids=str,
)
def test_what_is_usual_has_no_note(words: list[str]) -> None:
    assert notes_on(*words) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data=wine"], "has 15 samples, so each is worth 6.7% of a validation result: set a larger data.val_fraction"),
        (["data=wine", "data.val_fraction=0.4"], None),
        (["data=wine", "data.val_fraction=0"], None),
        (["data=wine", "data.val_fraction=0.4", "data.limit=40"], "has 40 samples, .*: set a larger data.limit"),
        (
            ["data=csv", "data.path=t.csv", "data.target=y", "data.task=regress", "loss=mse"],
            "1 sample, .*100.0%.* data.split_seed",
        ),
    ],
)
def test_a_small_validation_split_is_a_note(words: list[str], says: str | None) -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{i},{i * 1.5 + 0.25}\n" for i in range(16)))
    config = compose([*WINE[1:], "data.batch_size=4", *words])
    data = Splits.load(config["data"])
    recipe = RunRecipe(config, data)
    found = [
        each for each in notes(config, data, recipe.spec, recipe.schedule, nn.Identity()) if "validation split" in each
    ]
    assert len(found) == (says is not None), found
    assert says is None or re.search(says, found[0]), found


def test_pretrained_weights_may_be_frozen() -> None:
    assert notes_on("freeze=backbone", pretrained=True) == []
    assert notes_on("freeze=1", pretrained=True) == []


@pytest.mark.parametrize("milestones", ["[0.5,1]", "[60,30]", "[0.75,0.5]", "[1,2,0.5]"])
def test_milestones_that_are_not_in_order_are_refused(milestones: str) -> None:
    with pytest.raises(UserError, match=r"schedule\.milestones are not in order: .* is before"):
        notes_on("schedule=multi_step", f"schedule.milestones={milestones}")


def numbers(rows: int, constant: bool = False) -> list[str]:
    """A table of numbers, of which the validation part has one row in ten."""
    Path("t.csv").write_text("x,y,z\n" + "".join(f"{i},{1 if constant else i * 1.5 + 0.25},{i}\n" for i in range(rows)))
    return ["data=csv", "data.path=t.csv", "loss=mse", "data.batch_size=4"]


@pytest.mark.parametrize(
    ("rows", "constant", "target", "says"),
    [
        (16, False, "y", "validation has one row, for which r2 is not defined (raise data.val_fraction)"),
        (60, True, "y", "y is the same in all 5 validation rows, for which r2 is not defined"),
        (60, True, "[y,z]", "y is the same in all 5 validation rows"),
    ],
)
def test_a_metric_that_cannot_move_is_a_note(rows: int, constant: bool, target: str, says: str) -> None:
    found = notes_on(*numbers(rows, constant), f"data.target={target}", "data.task=regress")
    assert says in found[0]
    assert ("do not follow it" in found[0]) == (target == "y")
    assert notes_on(*numbers(60), "data.target=y") == []


@pytest.mark.parametrize("words", [["trainer.early_stopping=2"], ["schedule=plateau", "schedule.patience=1"]])
def test_what_is_not_defined_is_not_followed(words: list[str]) -> None:
    settings = [*WINE, *numbers(16), "data.target=y", "trainer.max_epochs=8", "schedule=constant", *words]
    run = train(*settings)
    record = RunDir.open(run.dir).read()
    assert record["steps"] == 24
    assert record["selected_epoch"] == 8
    rates = {line["lr"] for line in read_metrics(run.dir / "metrics.jsonl") if "lr" in line}
    assert len(rates) == 1
    assert Best.after(None, 0.0, 5) == Best(0.0, 5, 5)


def test_a_class_without_a_test_sample_is_named() -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{i},c{i % 40:02}\n" for i in range(80)))
    (note,) = notes_on("data=csv", "data.path=t.csv", "data.target=y", "data.task=classify")
    assert note.startswith("24 of 40 classes have no test sample: c")
    assert note.endswith(", ...")


@pytest.mark.parametrize(
    ("available", "says"),
    [
        (10_000, None),
        (
            9_999,
            r"needs about 0 GB of memory, .* 0 GB here; data.batch_size=64 fits, or a larger trainer.accumulate$",
        ),
        (2_000, "data.batch_size=8 fits, or a larger"),
        (1_000, "choose a smaller model, or smaller images"),
    ],
)
def test_more_memory_than_there_is_is_a_note(available: int, says: str | None) -> None:
    notes = memory_notes(Profile(0, 0, fixed=1_000, activations=9_000), 64, 128, available)
    assert (says is None and notes == []) or (len(notes) == 1 and re.search(says or "", notes[0]))


def test_checkpointing_activations_is_advised_where_it_fits() -> None:
    profile = Profile(0, 0, fixed=1_000, activations=9_000, checkpointed=3_000)
    for available, says in ((5_000, ", or trainer.checkpoint_activations=true"), (3_999, "trainer.accumulate")):
        (note,) = memory_notes(profile, 64, 128, available)
        assert note.endswith(says)
    assert memory_notes(profile, 64, 128, 4_000, checkpoint=True) == []
    (note,) = memory_notes(profile, 64, 128, 2_500, checkpoint=True)
    assert note.endswith("data.batch_size=64 fits, or a larger trainer.accumulate")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], []),  # 32 groups were not asked for
        (
            ["norm.num_groups=5"],
            ["norm.num_groups=5: the number of groups is 2 for 16 channels, 4 for 32 channels, 4 for 64 channels; it"
             " must divide the channels, and leave norm.min_channels=8 in each group"],
        ),
        (["norm.num_groups=4", "norm.min_channels=1"], []),
        (["norm.num_groups=1"], ["has one group in layers of 16 and 32 and 64 channels, where it equals norm=ln"]),
        (["model.width=8"], ["norm=gn has one group in layers of 8 channels, where it equals norm=ln"]),
        (["norm.channels_per_group=1"], ["in layers of 16 and 32 and 64 channels, where it equals norm=in"]),
        (["norm=bn"], []),
        (["model=linear", "norm=default"], []),  # a model without norms
    ],
)  # fmt: skip
def test_groups_that_are_not_those_of_the_setting(words: list[str], says: list[str]) -> None:
    config = compose(last_of_each(["model=resnet20", "norm=gn", *words]))
    with torch.device("meta"):
        network = network_from_config(config, {"num_classes": 10, "in_channels": 3, "image_size": 32})
    found = group_notes(config["norm"], network)
    assert len(found) == len(says)
    assert all(said in note for said, note in zip(says, found, strict=True))


def test_the_note_on_groups_is_recorded() -> None:
    run = train(*CONV, "norm=gn", "norm.num_groups=3", "norm.min_channels=1", "trainer.max_epochs=1")
    (note,) = (note for note in run.record["remarks"] if "num_groups" in note)
    assert note.startswith("norm.num_groups=3: the number of groups is 2 for 4 channels, 2 for 8 channels, 2 for 16")
