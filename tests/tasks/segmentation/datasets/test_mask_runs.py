"""Every data set of masks in small runs: the same from each cache, at several sizes, whole and in windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlzoo.cli import main
from dlzoo.runs.run_dir import RunDir
from tests.mask_files import mask_tree, save_palette
from tests.small import logged, same, train, weights
from tests.tasks.segmentation.datasets import test_coco_masks, test_published_sets

pytestmark = pytest.mark.usefixtures("cache_home")
voc, pets = test_published_sets.voc, test_published_sets.pets

SMALL = ["model=unet_tiny", "trainer=cpu", "trainer.threads=1", "trainer.max_epochs=1", "data.val_fraction=0"]


def run(path: Path, *words: str) -> RunDir:
    return RunDir(train(*SMALL, "data.batch_size=2", *words, f"run_dir={path}").dir)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mask_tree(tmp_path / "d", {"train": 5, "test": 3}, save=save_palette)
    return tmp_path / "d"


def coco(tmp_path: Path) -> list[str]:
    return ["data=coco_masks", f"data.root={test_coco_masks.tree(tmp_path / 'coco')}", "data.image_size=null"]


def own(tmp_path: Path) -> list[str]:
    mask_tree(tmp_path / "own", {"train": 5, "test": 3}, save=save_palette)
    return ["data=mask_folder", f"data.root={tmp_path / 'own'}", "data.image_size=null"]


SETS: dict[str, Callable[[Path], list[str]]] = {
    "mask_folder": own,
    "coco_masks": coco,
    "voc2012_seg": lambda tmp_path: ["data=voc2012_seg", f"data.root={tmp_path / 'voc'}", "data.crop=16"],
    "oxford_pets": lambda tmp_path: ["data=oxford_pets", f"data.root={tmp_path / 'pets'}", "data.image_size=32"],
}


@pytest.mark.parametrize("name", SETS)
def test_every_cache_gives_the_same_run(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for fixture in ("voc", "pets"):
        if fixture in name:
            request.getfixturevalue(fixture)
    words = SETS[name](tmp_path)
    runs = [run(tmp_path / cache, *words, f"data.cache={cache}") for cache in ("none", "disk", "memory")]
    first = runs[0].read()
    assert first["kind"] == "masks" and first["metrics"]["test/miou"] >= 0
    for other in runs[1:]:
        assert other.read()["data_fingerprint"] == first["data_fingerprint"]
        assert same(weights(other), weights(runs[0])) and logged(other.path) == logged(runs[0].path)


def test_windows_are_trained_on_and_whole_images_tested(folder: Path, tmp_path: Path) -> None:
    record = run(tmp_path / "run", "data=mask_folder", f"data.root={folder}", "data.crop=16", "augment=flip").read()
    assert (record["image_size"], record["state"]) == (16, "finished")
    assert record["colours"] == [[0, 0, 0], [200, 10, 20], [0, 128, 0]]
    assert torch.tensor(record["metrics"]["test/loss"]).isfinite()


def test_what_an_augmentation_does_is_shown(folder: Path) -> None:
    words = ["data=mask_folder", f"data.root={folder}", "data.image_size=32", "data.batch_size=2"]
    assert main(["show", "augment", "flip", *words]) == 0
    assert Path("outputs/show/augment_flip.png").is_file()
