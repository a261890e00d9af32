"""Default settings for few images of your own: a batch that fits, a training of enough steps, and its validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.settings import TEST_FRACTION

#: With fewer training images than this, the data has these defaults.
FEW = 1000
#: The largest number of epochs, and how many of them are validated.
MOST_EPOCHS, VALIDATIONS = 1000, 20
#: Fewer images than this are not cut from train for validation: a metric of them is mostly noise.
LEAST_VALIDATED = 50

#: Settings that need a validation split, or change it.
_VALIDATING = {
    *("data.val_fraction", "trainer.monitor", "trainer.select", "trainer.early_stopping"),
    *("trainer.keep_best", "trainer.validate_every_epochs", "trainer.validate_every_steps"),
}


@dataclass(frozen=True)
class FewImages:
    """Few images: how many are trained on, and whether some are cut from train for validation, or are validated at all.

    `cut`: whether data.val_fraction stays as it is, and is not 0.
    """

    images: int
    cut: bool
    validated: bool

    def settings(self, config: Mapping[str, Any], chosen: Set[str], *, batch: int, steps: int) -> list[str]:
        """Return the batch, the number of epochs, and the validation (key=value).

        Args:
            config: the config without them.
            chosen: keys that are chosen otherwise.
            batch: the largest batch.
            steps: the number of optimizer steps of the training.
        """
        usual = batch_size(self.images, batch)
        used = config["data"]["batch_size"] if "data.batch_size" in chosen else usual
        a_pass = max(1, self.images // (self.images if used == "full" else used))
        epochs = min(MOST_EPOCHS, math.ceil(steps / a_pass))
        words = [] if self.cut else ["data.val_fraction=0.0"]
        words += [f"data.batch_size={usual}", f"trainer.max_epochs={epochs}"]
        length = config["trainer"]["max_epochs"] if "trainer.max_epochs" in chosen else epochs
        if self.validated and length > VALIDATIONS and "trainer.validate_every_steps" not in chosen:
            words.append(f"trainer.validate_every_epochs={length // VALIDATIONS}")
        return words


def few_images(config: Mapping[str, Any], chosen: Set[str]) -> FewImages | None:
    """Return the images that a config names, if they are few; None for many, or for a folder that cannot be read.

    Its error is raised when the data is loaded.

    Args:
        config: the config, without the defaults of few images.
        chosen: keys that are chosen otherwise.
    """
    section = config["data"]
    module, _, function = index.marks("data", section["name"]).counts.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes are given when the data is loaded
            counts = getattr(import_module(module), function)(section)
    except (UserError, OSError):
        return None
    validated = {"val", "test"} <= set(counts) or _cut_for_validation(counts, section) >= LEAST_VALIDATED
    asked = bool(_VALIDATING & chosen) or index.marks("schedule", config["schedule"]["name"]).validation
    fraction = section["val_fraction"] if validated or asked else 0.0
    images = training_images(counts, {**section, "val_fraction": fraction})
    return FewImages(images, fraction > 0, validated or fraction > 0) if 0 < images < FEW else None


def training_images(counts: Mapping[str, int], section: Mapping[str, Any]) -> int:
    """Return how many images are trained on, given those of each split: without test or val they are cut from train."""
    images = _outside_test(counts) - _cut_for_validation(counts, section)
    return min(images, section["limit"] or images)


def _cut_for_validation(counts: Mapping[str, int], section: Mapping[str, Any]) -> int:
    return 0 if {"val", "test"} <= set(counts) else round(section["val_fraction"] * _outside_test(counts))


def _outside_test(counts: Mapping[str, int]) -> int:
    images = counts.get("train", 0)
    return images - round(TEST_FRACTION * images) if set(counts) == {"train"} else images


def batch_size(images: int, most: int) -> int:
    """Return the default batch: `most`, for very few images the largest power of two of at most a quarter of them."""
    return min(most, 1 << max(0, (images // 4).bit_length() - 1))
