"""Defaults for images with masks of one's own: a size that fits in memory, and a training of enough steps for few."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlzoo.config import compose
from dlzoo.data import few_images
from dlzoo.data.few_images import training_images
from dlzoo.data.splits import Splits
from dlzoo.runs.logged import read_metrics
from dlzoo.tasks.segmentation.datasets.own_masks import BATCH, SIZE, STEPS
from tests.mask_files import mask_tree
from tests.small import train

pytestmark = pytest.mark.usefixtures("cache_home")
Write = Callable[..., list[str]]


def empty_folder(root: Path, **counts: int) -> list[str]:
    """Files without content: their number is all that composition reads."""
    for part, count in counts.items():
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
            for number in range(count):
                (root / kind / part / f"{number:04}.png").touch()
    return ["data=mask_folder", f"data.root={root}"]


def empty_json(root: Path, **counts: int) -> list[str]:
    root.mkdir()
    for part, count in counts.items():
        (root / f"{part}.json").write_text(json.dumps({"images": [{"id": number} for number in range(count)]}))
    return ["data=coco_masks", f"data.root={root}"]


@pytest.mark.parametrize("write", [empty_folder, empty_json])
def test_few_images_are_trained_for_as_many_steps_as_many(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_images, "FEW", 50)  # writing a thousand files takes seconds
    few = compose(write(tmp_path / "few", train=40))
    assert few["data"]["batch_size"] == 8 and few["data"]["val_fraction"] == 0
    assert STEPS <= few["trainer"]["max_epochs"] * (32 // 8) < STEPS + 4
    many = compose(write(tmp_path / "many", train=50, val=1, test=1))
    assert (many["data"]["batch_size"], many["trainer"]["max_epochs"]) == (BATCH, 30)
    typed = compose([*write(tmp_path / "typed", train=40), "data.batch_size=2", "optimizer.lr=0.1"])
    assert typed["trainer"]["max_epochs"] == -(-STEPS // 16) and typed["optimizer"]["lr"] == 0.1
    assert compose([*write(tmp_path / "length", train=40), "trainer.max_epochs=3"])["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize("write", [empty_folder, empty_json])
def test_whole_images_are_made_smaller_and_windows_are_cut_from_their_own_size(write: Write, tmp_path: Path) -> None:
    words = write(tmp_path / "mine", train=40)
    assert compose(words)["data"]["image_size"] == SIZE
    assert compose([*words, "data.image_size=null"])["data"]["image_size"] is None
    cropped = compose([*words, "data.crop=128"])["data"]
    assert (cropped["image_size"], cropped["crop"]) == (None, 128)


@pytest.mark.parametrize("parts", [{"train": 3}, {"train": 9}, {"train": 3, "test": 50}, {"train": 6, "val": 2}])
@pytest.mark.parametrize("write", [empty_folder, empty_json])
def test_the_default_batch_is_never_larger_than_the_data(write: Write, parts: dict[str, int], tmp_path: Path) -> None:
    config = compose(write(tmp_path / "mine", **parts))
    assert 1 <= config["data"]["batch_size"] <= max(1, training_images(parts, config["data"]))


def test_the_images_of_a_folder_are_counted_as_they_are_split_and_a_run_trains(tmp_path: Path) -> None:
    mask_tree(tmp_path / "mine", {"train": 12, "test": 3})
    words = ["data=mask_folder", f"data.root={tmp_path / 'mine'}", "data.image_size=16", "trainer.max_epochs=3"]
    config = compose(words)
    assert len(Splits.load(config["data"]).train) == training_images({"train": 12, "test": 3}, config["data"])
    run = train(*words, "model.depth=2", "trainer.threads=1", "trainer=cpu", f"run_dir={tmp_path / 'run'}")
    assert read_metrics(run.dir / "metrics.jsonl")[-1]["epoch"] >= 2
    notes = json.loads((run.dir / "run.json").read_text())["remarks"]
    assert any("data.batch_size=2" in note and "defaults for this data" in note for note in notes)
