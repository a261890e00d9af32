"""Measure non-maximum suppression against torchvision's, and the training of a detector, for scripts/bench.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import nms

from dlzoo.builder.model import build
from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose

#: Boxes of one image and class.
BOXES = 10_000


def suppressor_costs(repeats: int) -> list[tuple[str, str]]:
    """Compare nms and diou_nms with torchvision's compiled nms, on the same boxes, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for place, (boxes, scores) in {"scattered": _scattered(), "in 50 clusters": _crowded()}.items():
        classes = torch.zeros(1, BOXES, dtype=torch.int64)
        for name in ("nms", "diou_nms"):
            suppress = build("nms", name)
            inputs = boxes[None], scores[None], classes
            pairs = [
                (_seconds(lambda: suppress(*inputs)), _seconds(lambda: nms(boxes, scores, 0.5)))  # noqa: B023
                for _ in range(repeats + 1)
            ]
            ratio = statistics.median(ours / theirs for ours, theirs in pairs[1:])
            rows.append((f"{name} of {BOXES:,} boxes {place} / torchvision's nms", f"{ratio:.2f}"))
    torch.set_num_threads(threads)
    return rows


def detector_costs(repeats: int, quick: bool, trainer: str) -> list[tuple[str, str]]:
    """Measure YOLOv3 at 416 px on generated images: images per second, and the share of data loading in a step."""
    count = 64 if quick else 512
    words = ["data=shapes", f"data.train={count}", "data.test=8", "data.image_size=416", "data.val_fraction=0"]
    words += ["data.batch_size=32", "model=yolov3", "augment=yolo", "augment.mosaic=0.5", f"trainer={trainer}"]
    assembled = Assembled(compose([*words, f"trainer.max_epochs={repeats + 1}"]))
    assembled.fit(None, [])
    feed, device = assembled.module.loaders.train, next(assembled.network.parameters()).device
    feed.to(device)

    def batches() -> None:
        for step in range(feed.steps_per_epoch):
            for batch in feed.batches(step):
                batch.images.sum()
        if device.type == "cuda":
            torch.cuda.synchronize()

    batches()
    loading = statistics.median(_seconds(batches) for _ in range(repeats))
    total = assembled.module.state.train_seconds / (repeats + 1)
    return [
        ("yolov3 at 416 px, batch 32, with augmentation and mosaic: images/s", f"{count / total:.0f}"),
        ("the same: data loading only / training step", f"{loading / total:.3f}"),
    ]


def _scattered() -> tuple[Tensor, Tensor]:
    """Return boxes of 10 to 100 px, spread evenly over an image of 1,000 px."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(BOXES, 2, generator=generator) * 900
    sides = 10 + torch.rand(BOXES, 2, generator=generator) * 90
    return torch.cat([corners, corners + sides], 1), torch.rand(BOXES, generator=generator)


def _crowded() -> tuple[Tensor, Tensor]:
    """Return boxes around 50 places, like the outputs of a detector before suppression."""
    generator = torch.Generator().manual_seed(1)
    boxes, _ = _scattered()
    around = boxes[:50].repeat(BOXES // 50, 1)
    return around + torch.randn(BOXES, 4, generator=generator) * 5, torch.rand(BOXES, generator=generator)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
