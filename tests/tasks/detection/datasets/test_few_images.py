"""Defaults for few images of one's own: a batch that fits, a rate at which each detector learns, and what was typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlzoo.config import compose, read
from dlzoo.core.registries import MODELS
from dlzoo.data import few_images
from dlzoo.data.few_images import training_images
from dlzoo.data.splits import Splits
from dlzoo.runs.logged import read_metrics
from dlzoo.tasks.detection.datasets.few_images import BATCH, SETTINGS, STEPS
from tests.small import SMALL_PARTS, last_of_each, train

BOX = "0 0.5 0.5 0.5 0.5"
DETECTORS = [name for name in MODELS.names() if "detect" in MODELS[name].marks.tasks]


def empty_yolo(root: Path, **counts: int) -> list[str]:
    """Files without content: their number is all that composition reads."""
    for part, count in counts.items():
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            folder = root / kind / part
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number:04}.{suffix}").touch()
    return ["data=yolo_txt", f"data.root={root}"]


def empty_xml(root: Path, **counts: int) -> list[str]:
    for part, count in counts.items():
        (root / part).mkdir(parents=True)
        for number in range(count):
            (root / part / f"{number:04}.jpg").touch()
            (root / part / f"{number:04}.xml").touch()
    return ["data=voc_xml", f"data.root={root}"]


def empty_json(root: Path, **counts: int) -> list[str]:
    root.mkdir()
    for part, count in counts.items():
        (root / f"{part}.json").write_text(json.dumps({"images": [{"id": number} for number in range(count)]}))
    return ["data=coco_json", f"data.root={root}"]


def squares(root: Path, count: int) -> list[str]:
    """A bright square on each image, in YOLO's format."""
    numbers = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number in range(count):
        pixels = numbers.integers(0, 90, (32, 32, 3), dtype=np.uint8)
        x, y, side = (int(each) for each in (*numbers.integers(0, 16, 2), numbers.integers(8, 16)))
        pixels[y : y + side, x : x + side] += 120
        Image.fromarray(pixels).save(root / "images" / f"{number:03}.png")
        box = ((x + side / 2) / 32, (y + side / 2) / 32, side / 32, side / 32)
        (root / "labels" / f"{number:03}.txt").write_text(f"0 {' '.join(map(str, box))}\n")
    return ["data=yolo_txt", f"data.root={root}"]


@pytest.mark.parametrize("write", [empty_yolo, empty_xml, empty_json])
def test_few_images_have_their_own_defaults_and_many_the_usual_ones(
    write: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_images, "FEW", 50)  # writing a thousand files takes seconds
    few, many = compose(write(tmp_path / "few", train=60)), compose(write(tmp_path / "many", train=50, test=1, val=1))
    for word in SETTINGS:
        key, _, value = word.partition("=")
        section, _, name = key.partition(".")
        assert str(few[section][name]) in (value, f"{value}.0")
    assert (few["model"]["name"], few["data"]["batch_size"]) == ("yolo_tiny", BATCH)
    assert few["trainer"]["max_epochs"] * (48 // BATCH) >= STEPS
    usual = compose([f"data={many['data']['name']}"])
    assert many == usual | {"data": many["data"]} and many["data"] == usual["data"] | {"root": many["data"]["root"]}
    assert usual["model"]["name"] == "yolov3"


def test_what_was_chosen_stays_and_a_chosen_entry_has_its_own_defaults(tmp_path: Path) -> None:
    words = empty_yolo(tmp_path / "mine", train=60)
    made = compose(
        [*words, "optimizer=rmsprop", "trainer=debug", "data.image_size=96", "model=yolov3", "schedule=step"]
    )
    assert made["optimizer"]["lr"] == 0.001  # RMSprop's own
    assert (made["data"]["image_size"], made["model"]["name"]) == (96, "yolov3")
    assert (made["trainer"]["max_epochs"], made["schedule"]["warmup"]) == (1, 0.0)
    assert made["trainer"]["select"] == "last"
    typed = compose([*words, "optimizer.lr=0.5", "data.batch_size=10", "trainer.ema=null"])
    assert (typed["optimizer"]["name"], typed["optimizer"]["lr"]) == (
        "momentum",
        0.5,
    )  # the rate of the usual optimizer
    assert (typed["data"]["batch_size"], typed["trainer"]["ema"]) == (10, None)
    assert typed["trainer"]["max_epochs"] * (48 // 10) >= STEPS
    file = tmp_path / "mine.yaml"
    file.write_text("# @package _global_\ndefaults:\n  - override /optimizer: rmsprop\ntrainer:\n  max_epochs: 3\n")
    of_file = compose([*words, f"experiment={file}"])
    assert (of_file["optimizer"]["lr"], of_file["trainer"]["max_epochs"]) == (0.001, 3)
    assert of_file["data"]["batch_size"] == BATCH


@pytest.mark.parametrize(
    ("settings", "fraction", "every"),
    [
        ([], 0, 1),
        (["trainer.early_stopping=3"], 0.1, 24),
        (["schedule=plateau"], 0.1, 24),
        (["schedule=step"], 0, 1),
        (["trainer.select=best", "trainer.max_epochs=10"], 0.1, 1),
        (["data.val_fraction=0.2", "trainer.validate_every_steps=50"], 0.2, 1),
    ],
)
def test_few_images_are_validated_only_where_something_needs_it(
    settings: list[str], fraction: float, every: int, tmp_path: Path
) -> None:
    config = compose([*empty_yolo(tmp_path / "mine", train=60), *settings])
    assert (config["data"]["val_fraction"], config["trainer"]["validate_every_epochs"]) == (fraction, every)
    large = compose([*empty_yolo(tmp_path / "large", train=700), *settings])
    assert large["data"]["val_fraction"] == max(fraction, 0.1)


def test_defaults_differ_by_detector(tmp_path: Path) -> None:
    words = empty_yolo(tmp_path / "mine", train=60)
    rates = {name: compose([*words, f"model={name}"])["optimizer"]["lr"] for name in DETECTORS}
    assert rates["yolo_tiny"] > rates["yolov3"] > rates["ssd300"] > 0


@pytest.mark.parametrize("parts", [{"train": 3}, {"train": 4}, {"train": 9}, {"train": 17}, {"train": 3, "test": 50},
                                   {"train": 30, "val": 1, "test": 1}, {"train": 6, "val": 2}])  # fmt: skip
@pytest.mark.parametrize("write", [empty_yolo, empty_xml, empty_json])
def test_the_default_batch_is_never_larger_than_the_data(
    write: Callable[..., list[str]], parts: dict[str, int], tmp_path: Path
) -> None:
    config = compose(write(tmp_path / "mine", **parts))
    assert 1 <= config["data"]["batch_size"] <= max(1, training_images(parts, config["data"]))


@pytest.mark.parametrize(("count", "settings"), [(3, []), (17, []), (30, []), (30, ["data.val_fraction=0.1"]),
                                                 (38, ["data.val_fraction=0.25"]), (30, ["data.limit=5"])])  # fmt: skip
def test_the_images_that_are_trained_on_are_counted_as_they_are_split(
    count: int, settings: list[str], tmp_path: Path
) -> None:
    config = compose([*squares(tmp_path / "mine", count), *settings])
    data = Splits.load(config["data"])
    assert len(data.train) == training_images({"train": count}, config["data"])
    assert data.batch_size <= len(data.train)


def test_a_missing_folder_is_reported_as_ever(tmp_path: Path) -> None:
    assert compose(["data=yolo_txt", f"data.root={tmp_path / 'none'}"])["data"]["batch_size"] == 64


@pytest.mark.parametrize(
    "name",
    [name if name in ("yolo_tiny", "retinanet") else pytest.param(name, marks=pytest.mark.long) for name in DETECTORS],
)
def test_each_detector_learns_with_its_defaults(name: str, tmp_path: Path) -> None:
    backbone = [] if name == "yolo_tiny" else ["backbone=resnet18", "backbone.width=8"]
    words = [
        *(*squares(tmp_path / "mine", 60), f"model={name}", *backbone, *SMALL_PARTS.get(name, []), "hooks=[]"),
        *("data.image_size=64", "trainer.max_epochs=4", "trainer.log_every=5", "trainer.threads=1"),
        *("trainer=cpu", f"run_dir={tmp_path / 'run'}", "data.cache=none"),
    ]
    run = train(*last_of_each(words))
    losses = [record["train/loss"] for record in read_metrics(run.dir / "metrics.jsonl") if "train/loss" in record]
    assert np.isfinite(losses).all() and losses[-1] < 0.9 * losses[0]
    frozen = read(run.dir / "config.yaml")
    assert frozen["data"]["batch_size"] == BATCH and frozen["optimizer"]["lr"] < 0.1
    note = next(
        note for note in json.loads((run.dir / "run.json").read_text())["remarks"] if "defaults for this data" in note
    )
    assert f"optimizer.lr={frozen['optimizer']['lr']}" in note.split() and "data.image_size=160" not in note.split()
