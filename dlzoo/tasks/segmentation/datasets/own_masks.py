"""The default settings for images with masks of your own: their size, and a length of training for few of them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from dlzoo.data.few_images import few_images

#: The longer side of whole images, in pixels: those of a camera would not fit in a batch.
SIZE = 256
#: Optimizer steps and images of a step for few images: those of thirty epochs of 900 images.
STEPS, BATCH = 1700, 16


def defaults(config: Mapping[str, Any], chosen: Set[str]) -> list[str]:
    """Return the default settings (key=value) for the images that a config names.

    Args:
        config: the config without them.
        chosen: keys that are chosen otherwise; windows (data.crop) are cut from images of their own size.
    """
    words = [] if "data.crop" in chosen else [f"data.image_size={SIZE}"]
    few = few_images(config, chosen)
    return words if few is None else [*words, *few.settings(config, chosen, batch=BATCH, steps=STEPS)]
