"""The objects of an item of a given data set: dictionaries of boxes and labels, as detectors of torchvision take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from dlzoo.core.errors import UserError

#: Pixels by which a box may extend beyond its image: annotations are rounded.
_TOLERANCE = 1.0
_FORM = '{"boxes": a float tensor (M, 4) of x1, y1, x2, y2 in pixels, "labels": an integer tensor (M,) from 0}'


class ItemObjects(NamedTuple):
    """The objects of an image, each with x1, y1, x2, y2 in pixels, its class, and 1 if it is a crowd, else 0."""

    rows: tuple[tuple[float, ...], ...]

    @property
    def tensor(self) -> Tensor:
        """The objects as labels: (M, 6) float32."""
        return torch.tensor(self.rows).view(-1, 6)


def to_objects(target: Mapping[str, Any], size: tuple[int, int], where: str) -> ItemObjects:
    """Return the objects of a dictionary with boxes (M, 4), labels (M,) and, if it has that, iscrowd (M,).

    Args:
        target: other keys than these are not used.
        size: width and height of the image, to which boxes are clipped that leave it by at most a pixel.
        where: the item, for messages.

    Raises:
        UserError: if it has another form, or a box is not in the image.
    """
    for key in ("boxes", "labels"):
        if key not in target:
            raise UserError(f"{where}: the target has no {key!r}; it must be {_FORM}")
    boxes, labels = _numbers(target["boxes"], "boxes", where), _numbers(target["labels"], "labels", where)
    crowd = _numbers(target["iscrowd"], "iscrowd", where) if "iscrowd" in target else torch.zeros(len(labels))
    boxes = boxes.reshape(0, 4) if not boxes.numel() else boxes
    if boxes.dim() != 2 or boxes.shape[1] != 4 or labels.shape != crowd.shape or labels.shape != boxes.shape[:1]:
        raise UserError(f"{where}: boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)} do not fit together; the"
                        f" target must be {_FORM}")  # fmt: skip
    given = target["boxes"]
    if isinstance(given, BoundingBoxes) and given.format != BoundingBoxFormat.XYXY:
        raise UserError(f"{where}: the boxes have the format {given.format.value}; convert them to XYXY")
    if bad := [label for label in labels.tolist() if label < 0 or label % 1]:
        raise UserError(f"{where}: the label {bad[0]:g} is not a class, an integer >= 0")
    limits = torch.tensor([*size, *size], dtype=torch.float32)
    clipped = boxes.clamp(min=torch.zeros(4), max=limits)
    for box, kept in zip(boxes, clipped, strict=True):
        _check_box(box, kept, size, where)
    rows = torch.cat([clipped, labels[:, None], (crowd > 0).float()[:, None]], 1)
    return ItemObjects(tuple(map(tuple, rows.tolist())))


def _numbers(value: Any, key: str, where: str) -> Tensor:
    """Return numbers as float32, which holds classes and pixels exactly."""
    try:
        return torch.as_tensor(np.asarray(value)).float()
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{where}: {key} is a {type(value).__name__}; the target must be {_FORM}") from None


def _check_box(box: Tensor, clipped: Tensor, size: tuple[int, int], where: str) -> None:
    """Check one box (4,), and what of it is in the image.

    Raises:
        UserError: if it is not finite, has no area, or leaves the image.
    """
    shown = ", ".join(f"{edge:g}" for edge in box.tolist())
    if not box.isfinite().all():
        raise UserError(f"{where}: the box ({shown}) is not finite")
    if (box[2:] <= box[:2]).any():
        raise UserError(f"{where}: the box ({shown}) has no area; boxes are x1, y1, x2, y2")
    if (clipped[2:] <= clipped[:2]).any() or (box - clipped).abs().max() > _TOLERANCE:
        raise UserError(f"{where}: the box ({shown}) leaves its image of {size[0]} x {size[1]} pixels")
