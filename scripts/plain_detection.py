"""A plain training loop around yolo_tiny, as one would write it by hand for few images: for scripts/bench_own_boxes.py.

The network, its loss, suppression and AP are dlzoo's; images, augmentation, optimizer and schedule are written here,
with a rate, a size, an augmentation and a number of steps that were chosen by hand.
"""

from __future__ import annotations

import math
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as V

import dlzoo
from dlzoo.builder.parts import as_section
from dlzoo.core.registries import NMS
from dlzoo.tasks.detection.losses import DetectionLoss
from dlzoo.tasks.detection.metrics.summary import metrics_and_curves
from dlzoo.tasks.detection.postprocess import select_detections

SIDE, BATCH, STEPS, RATE, WARM_UP, AVERAGE = 160, 8, 2400, 2e-3, 30, 0.98
ZOOM, SHIFT, COLOUR = 0.5, 0.2, 0.4
Sample = tuple[Tensor, Tensor]


def read(root: Path, part: str) -> list[Sample]:
    """Return images (3, SIDE, SIDE), letterboxed, and their labels (M, 6): x1, y1, x2, y2, class, 0."""
    samples = []
    for path in sorted((root / "images" / part).iterdir()):
        image = Image.open(path).convert("RGB")
        scale = SIDE / max(image.size)
        width, height = (round(side * scale) for side in image.size)
        left, top = (SIDE - width) // 2, (SIDE - height) // 2
        canvas = torch.full((3, SIDE, SIDE), 0.5)
        small = V.pil_to_tensor(image.resize((width, height), Image.Resampling.BILINEAR)).float() / 255
        canvas[:, top : top + height, left : left + width] = small
        rows = []
        for line in (root / "labels" / part / f"{path.stem}.txt").read_text().splitlines():
            label, x, y, w, h = map(float, line.split())
            x, y, w, h = x * width + left, y * height + top, w * width, h * height
            rows.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2, label, 0])
        samples.append((canvas, torch.tensor(rows).view(-1, 6)))
    return samples


def augment(image: Tensor, labels: Tensor) -> Sample:
    """Zoom, shift and flip an image with its boxes, and change brightness, contrast and saturation."""
    zoom = math.exp(random.uniform(-1, 1) * math.log(1 + ZOOM))
    shift = [random.uniform(-1, 1) * SHIFT * SIDE for _ in range(2)]
    scale = [random.choice((-zoom, zoom)), zoom]
    matrix = torch.zeros(1, 2, 3)
    boxes = labels[:, :4].view(-1, 2, 2).clone()
    for axis in range(2):
        matrix[0, axis, axis] = 1 / scale[axis]
        matrix[0, axis, 2] = -shift[axis] / scale[axis] / (SIDE / 2)
        boxes[..., axis] = (boxes[..., axis] - SIDE / 2) * scale[axis] + SIDE / 2 + shift[axis]
    grid = F.affine_grid(matrix, [1, 3, SIDE, SIDE], align_corners=False)
    image = F.grid_sample(image[None] - 0.5, grid, align_corners=False)[0] + 0.5
    by = [random.uniform(1 - COLOUR, 1 + COLOUR) for _ in range(3)]
    image = V.adjust_saturation(V.adjust_contrast((image * by[0]).clamp(0, 1), by[1]), by[2])
    low, high = boxes.amin(1), boxes.amax(1)
    inside = torch.cat([low, high], 1).clamp(0, SIDE)
    sides = inside[:, 2:] - inside[:, :2]
    kept = (sides.prod(1) > 0.25 * (high - low).prod(1)) & (sides.amin(1) > 2)
    return image, torch.cat([inside, labels[:, 4:]], 1)[kept]


def collate(samples: list[Sample]) -> Sample:
    """Return normalised images (N, 3, SIDE, SIDE) and labels (N, M, 6), padded with the class -1."""
    labels = torch.zeros(len(samples), max(1, *(len(rows) for _, rows in samples)), 6)
    labels[..., 4] = -1
    for place, (_, rows) in enumerate(samples):
        labels[place, : len(rows)] = rows
    images = (torch.stack([image for image, _ in samples]) - 0.45) / 0.25
    return images.contiguous(memory_format=torch.channels_last), labels


def train_and_test(root: Path, seed: int, steps: int = STEPS) -> float:
    """Train on root/images/train and return AP50 (VOC 2010's) on root/images/test."""
    torch.set_num_threads(1)
    random.seed(seed)
    torch.manual_seed(seed)
    samples = read(root, "train")
    corners = torch.cat([labels[:, :4] for _, labels in samples])
    sizes = corners[:, 2:] - corners[:, :2]
    network: Any = dlzoo.build_model("yolo_tiny", num_classes=2, image_size=SIDE, softmax_classes=False, sizes=sizes)
    network.to(memory_format=torch.channels_last)
    average, loss_fn = deepcopy(network).eval(), _loss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0)
    factors = [min(1, (step + 1) / WARM_UP) * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    order: list[int] = []
    for step, factor in enumerate(factors):
        optimizer.param_groups[0]["lr"] = RATE * factor
        while len(order) < BATCH:
            order += random.sample(range(len(samples)), len(samples))
        images, labels = collate([augment(*samples[order.pop(0)]) for _ in range(BATCH)])
        loss = torch.stack(list(loss_fn(network.match_targets(network(images), labels)))).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimizer.step()
        _follow(average, network, min(AVERAGE, (1 + step) / (10 + step)))
    return _test(average, read(root, "test"))


def _loss() -> DetectionLoss:
    return DetectionLoss(dlzoo.build_loss("ciou"), dlzoo.build_loss("bce"), on_offsets=False)  # pyright: ignore


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    ours, theirs = ([*each.parameters(), *each.buffers()] for each in (average, network))
    for mine, new in zip(ours, theirs, strict=True):
        if mine.is_floating_point():
            mine.lerp_(new, 1 - decay)


@torch.no_grad()
def _test(network: Any, samples: list[Sample]) -> float:
    settings, nms = NMS.from_section(as_section(NMS, {"name": "nms"}))
    found, labels = [], collate(samples)[1]
    for start in range(0, len(samples), 25):
        images, _ = collate(samples[start : start + 25])
        boxes, scores = network.candidates(network(images))
        found.append(select_detections(boxes, scores, nms, settings))
    return metrics_and_curves(torch.cat(found), labels, len(("person", "car")))[0]["map50_voc10"]
