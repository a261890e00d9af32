"""`dlzoo anchors`: fit anchor boxes to a data set."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from dlzoo import config
from dlzoo.boxes.anchors import kmeans_anchors, mean_iou
from dlzoo.boxes.objects import sides
from dlzoo.core import index
from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits

#: The model that takes the anchors, and a rate for it: the usual one, 0.1, is meant for smaller detectors.
_MODEL = "model=yolov3 optimizer.lr=0.01"


def anchors(words: Sequence[str]) -> dict[str, Any]:
    """Fit anchors to the training objects: {"anchors": [[w, h], ...], "mean_iou", "objects", "image_size", "settings"}.

    Args:
        words: settings of the data, and count=9.

    Raises:
        UserError: for any other word, or data without objects.
    """
    counts = [word.removeprefix("count=") for word in words if word.startswith("count=")]
    settings = [word for word in words if not word.startswith("count=")]
    count = counts[-1] if counts else "9"
    if not count.isdecimal() or not 1 <= int(count) <= 100:
        raise UserError(f"count must be an integer from 1 to 100, not {count!r}")
    other = [word for word in settings if word.partition("=")[0].partition(".")[0] != "data"]
    if other:
        raise UserError(f"{other[0]!r}: anchors take only data: dlzoo anchors data=voc2007 data.image_size=416 count=9")
    settings = settings or ["data=shapes"]
    section = config.compose(settings)["data"]
    data = Splits.load(section | {"batch_size": "full"})
    if "boxes" not in index.marks("task", data.task).moves:
        raise UserError(f"data={section['name']} has no boxes")
    sizes = sides(data.train.labels)
    centres = kmeans_anchors(sizes, int(count))
    return {
        "anchors": [[round(side, 1) for side in anchor] for anchor in centres.tolist()],
        "mean_iou": mean_iou(sizes, centres),
        "objects": len(sizes),
        "image_size": data.image_size,
        "settings": settings,
    }


def text(result: dict[str, Any]) -> str:
    """Format the anchors, with a command that uses them."""
    numbers = ",".join(f"{side:g}" for anchor in result["anchors"] for side in anchor)
    shapes = "  ".join(f"{width:g}x{height:g}" for width, height in result["anchors"])
    return "\n".join([
        f"{shapes}   (pixels, for images of {result['image_size']} px)",
        f"mean IoU of the {result['objects']:,} training boxes with their best anchor: {result['mean_iou']:.3f}",
        f"next     python train.py {shlex.join(result['settings'])} {_MODEL} 'model.anchors=[{numbers}]'",
    ])  # fmt: skip
