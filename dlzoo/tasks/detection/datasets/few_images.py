"""The default settings of a detector on few images of your own."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping, Set
from typing import Any

from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.settings import TEST_FRACTION

#: With fewer training images than this, the defaults are those below.
FEW = 1000
#: Number of optimizer steps, images of a step, the largest number of epochs, and how many of them are validated.
STEPS, BATCH, MOST_EPOCHS, VALIDATIONS = 2400, 8, 1000, 20
#: Fewer images than this are not cut from train for validation: AP on them is mostly noise.
LEAST_VALIDATED = 50
#: Settings (key=value) for few images: images are scaled and coloured less than usual, as short runs learn faster then.
SETTINGS = (
    *("data.image_size=160", "augment.scale=0.33", "augment.hue=0.02", "schedule.warmup=0.05"),
    *("trainer.clip_norm=10", "trainer.ema=0.98", "trainer.select=last"),
)
#: The default detector.
MODEL = "yolo_tiny"
#: The default optimizer, and its rate for each detector; the last one for others.
OPTIMIZER = "optimizer=adam"
RATES = {"yolo_tiny": 0.002, "yolov3": 0.001, "yolov4": 0.001}
OTHER_RATE = 0.0003

#: Settings that need a validation split, or change it.
_VALIDATING = {
    *("data.val_fraction", "trainer.monitor", "trainer.select", "trainer.early_stopping"),
    *("trainer.keep_best", "trainer.validate_every_epochs", "trainer.validate_every_steps"),
}
#: Data set -> the module whose `count_images` returns the number of images of each split.
_MODULES = {name: f"dlzoo.tasks.detection.datasets.{name}" for name in ("yolo_txt", "voc_xml", "coco_json")}


def defaults(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the default settings (key=value) for the images that a config names; none for many images.

    A folder that cannot be read has none either: the error is raised when the data is loaded.

    Args:
        config: the config without them.
        chosen: keys that are chosen otherwise.
    """
    section = config["data"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes are given when the data is loaded
            counts = importlib.import_module(_MODULES[section["name"]]).count_images(section)
    except (UserError, OSError):
        return []
    validated = {"val", "test"} <= set(counts) or _cut_for_validation(counts, section) >= LEAST_VALIDATED
    if (
        not validated
        and not _VALIDATING & chosen
        and not index.marks("schedule", config["schedule"]["name"]).validation
    ):
        section = {**section, "val_fraction": 0.0}
    images = training_images(counts, section)
    if not 0 < images < FEW:
        return []
    words = [f"model={MODEL}", *SETTINGS, *_optimizer(config, chosen)]
    words += [] if section["val_fraction"] else ["data.val_fraction=0.0"]
    return [*words, *_length(config, chosen, images, validated=validated or section["val_fraction"] > 0)]


def _length(config: Mapping[str, Any], chosen: Set[str], images: int, *, validated: bool) -> list[str]:
    """Return the batch, the number of epochs and how often the network is validated."""
    batch = batch_size(images)
    used = config["data"]["batch_size"] if "data.batch_size" in chosen else batch
    steps = max(1, images // (images if used == "full" else used))
    epochs = min(MOST_EPOCHS, math.ceil(STEPS / steps))
    words = [f"data.batch_size={batch}", f"trainer.max_epochs={epochs}"]
    length = config["trainer"]["max_epochs"] if "trainer.max_epochs" in chosen else epochs
    if validated and length > VALIDATIONS and "trainer.validate_every_steps" not in chosen:
        words.append(f"trainer.validate_every_epochs={length // VALIDATIONS}")
    return words


def _optimizer(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the optimizer and its rate; nothing where a setting of it was chosen: a rate is of the usual optimizer."""
    if any(key.partition(".")[0] == "optimizer" for key in chosen):
        return []
    name = config["model"]["name"] if "model" in chosen else MODEL
    return [OPTIMIZER, f"optimizer.lr={RATES.get(name, OTHER_RATE)}"]


def training_images(counts: Mapping[str, int], section: Mapping[str, Any]) -> int:
    """Return how many images are trained on, given those of each split: without test or val they are cut from train."""
    images = _outside_test(counts) - _cut_for_validation(counts, section)
    return min(images, section["limit"] or images)


def _cut_for_validation(counts: Mapping[str, int], section: Mapping[str, Any]) -> int:
    return 0 if {"val", "test"} <= set(counts) else round(section["val_fraction"] * _outside_test(counts))


def _outside_test(counts: Mapping[str, int]) -> int:
    images = counts.get("train", 0)
    return images - round(TEST_FRACTION * images) if set(counts) == {"train"} else images


def batch_size(images: int) -> int:
    """Return the default batch: BATCH, for very few images the largest power of two of at most a quarter of them."""
    return min(BATCH, 1 << max(0, (images // 4).bit_length() - 1))
