"""The default settings of a detector on few images of your own."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from dlzoo.data.few_images import few_images

#: Number of optimizer steps, and images of a step.
STEPS, BATCH = 2400, 8
#: Settings (key=value) for few images: each is seen hundreds of times, so half of them are composed of four.
SETTINGS = (
    *("data.image_size=160", "augment.mosaic=0.5", "schedule.warmup=0.05"),
    *("trainer.clip_norm=10", "trainer.ema=0.98", "trainer.select=last"),
)
#: The default detector.
MODEL = "yolo_tiny"
#: The default optimizer, and its rate for each detector; the last one for others.
OPTIMIZER = "optimizer=adam"
RATES = {"yolo_tiny": 0.002, "yolov3": 0.001, "yolov4": 0.001}
OTHER_RATE = 0.0003


def defaults(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the default settings (key=value) for the images that a config names; none for many images.

    Args:
        config: the config without them.
        chosen: keys that are chosen otherwise.
    """
    few = few_images(config, chosen)
    if few is None:
        return []
    words = [f"model={MODEL}", *SETTINGS, *_optimizer(config, chosen)]
    return [*words, *few.settings(config, chosen, batch=BATCH, steps=STEPS)]


def _optimizer(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the optimizer and its rate; nothing where a setting of it was chosen: a rate is of the usual optimizer."""
    if any(key.partition(".")[0] == "optimizer" for key in chosen):
        return []
    name = config["model"]["name"] if "model" in chosen else MODEL
    return [OPTIMIZER, f"optimizer.lr={RATES.get(name, OTHER_RATE)}"]
