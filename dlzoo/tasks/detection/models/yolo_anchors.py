"""Anchors of YOLO: those of the paper, k-means of the data, or a list."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.boxes.anchors import kmeans_anchors
from dlzoo.core.errors import UserError

#: Widths and heights of anchors for images of 416 px (arXiv:1804.02767, section 2.3), from the smallest. Those of the
#: authors' yolov4.cfg are the same for 512 px.
PAPER = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
PAPER_SIZE = 416

#: Anchors of a cell if they are learnt from the data.
ANCHORS_PER_LEVEL = 3


def yolo_anchors(choice: str | tuple[float, ...], levels: int, sizes: Tensor | None, image_size: int) -> Tensor:
    """Return anchors (levels, A, 2) in pixels, sorted by area.

    Args:
        choice: "paper", "kmeans", or a list of widths and heights in pixels.
        levels: number of levels.
        sizes: (B, 2) widths and heights of the objects of the training split, in pixels; None without data.
        image_size: side of the images.

    Raises:
        UserError: if the anchors do not divide evenly among the levels.
    """
    if choice == "kmeans":
        # Without data they come from a checkpoint, and are squares until then.
        sides = torch.logspace(-4, 0, ANCHORS_PER_LEVEL * levels, base=2)[:, None].expand(-1, 2) * image_size
        flat = sides if sizes is None else kmeans_anchors(sizes, ANCHORS_PER_LEVEL * levels)
    else:
        numbers = torch.tensor(PAPER if choice == "paper" else choice, dtype=torch.float32)
        if not len(numbers) or len(numbers) % (2 * levels):
            raise UserError(
                f"model.anchors={choice if choice == 'paper' else list(choice)} has {len(numbers)} numbers"
                f" (w,h,w,h,...), which do not divide evenly among {levels} level(s); choose kmeans, or list pairs in"
                " pixels"
            )
        flat = numbers.view(-1, 2) * (image_size / PAPER_SIZE if choice == "paper" else 1)
    flat = flat[flat.prod(-1).argsort(stable=True)]
    return flat.view(levels, -1, 2).contiguous()
