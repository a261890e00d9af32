"""Small runs, for the tests that carry one out."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

import dlzoo
from dlzoo.config.overrides import key_of
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir

SMALL = [
    "model=mlp",
    "model.hidden=[16]",
    "data.limit=200",
    "data.batch_size=40",
    "trainer.max_epochs=3",
    "trainer=cpu",
]
CONV = [
    "trainer=cpu",
    "model=resnet20",
    "model.width=4",
    "data.limit=160",
    "data.batch_size=32",
    "trainer.max_epochs=2",
]

#: Pictures that take no time, and a network that is hardly one.
TINY = [
    *("data=shapes", "data.train=24", "data.test=8", "data.image_size=64", "data.batch_size=8", "trainer=cpu"),
    *("trainer.max_epochs=2", "trainer.log_every=2", "trainer.threads=1", "optimizer=adam"),
]
SMALL_BACKBONE = ["backbone=resnet18", "backbone.width=8"]
#: What makes each small, beside its backbone.
SMALL_PARTS = {
    "faster_rcnn": ["neck.width=16", "model.rois=16", "model.proposals=32", "model.hidden=[16]"],
    "retinanet": ["neck.width=16", "model.depth=1", "model.width=16"],
    "ssd300": ["model.width=32"],
    "yolov3": ["neck.depth=1"],
    "yolov4": ["neck.depth=1"],
}


def train(*overrides: str) -> dlzoo.Run:
    """Train; of settings of the same key the last one holds."""
    return dlzoo.train(last_of_each(overrides), quiet=True)


def last_of_each(overrides: Iterable[str]) -> list[str]:
    return list({key_of(line): line for line in overrides}.values())


def weights(run: dlzoo.Run | RunDir) -> dict[str, Tensor]:
    path = (run.dir if isinstance(run, dlzoo.Run) else run.path) / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def logged(path: Path) -> list[dict]:
    """The log of a run without what differs from one time to the next."""
    drop = {"time", "images_per_second"}
    return [{k: v for k, v in record.items() if k not in drop} for record in read_metrics(path / "metrics.jsonl")]
