"""Measure input pipelines, and training with other libraries' loaders, for scripts/bench.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from bench_loop import CLIP, Row, interleaved, ours, random_splits, synchronise
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import dlzoo
from dlzoo.builder.model import build
from dlzoo.core.rng import Streams
from dlzoo.data.loader import TrainLoader
from dlzoo.data.split import Split
from dlzoo.data.transforms.batch import ImageTransform, Normalise


def input_costs(repeats: int, quick: bool) -> list[Row]:
    """Compare batched crop, flip and normalisation with torchvision's transforms, one image at a time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count, single = (10_000, 500) if quick else (50_000, 2_500)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8)
    split = Split(images, torch.zeros(count, dtype=torch.int64))
    normalise = Normalise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    feed = TrainLoader(split, ImageTransform(build("augment", "flip_crop"), normalise), Streams(0), 128, 1)
    pil_images = [Image.fromarray(image.numpy()) for image in images[:single]]
    transform = per_sample_transform()

    def batched() -> float:
        began = time.perf_counter()
        for step in range(feed.steps_per_epoch):
            for _ in feed.batches(step):
                pass
        return (time.perf_counter() - began) / (feed.steps_per_epoch * 128)

    def per_sample() -> float:
        began = time.perf_counter()
        for start in range(0, single, 128):
            torch.stack([transform(image) for image in pil_images[start : start + 128]])
        return (time.perf_counter() - began) / single

    ours_, theirs = interleaved(repeats, batched, per_sample)
    torch.set_num_threads(threads)
    return [
        ("50,000 CIFAR images cropped, flipped, normalised, one thread", f"{statistics.median(ours_) * 50_000:.2f} s"),
        (
            "the same through per-sample transforms / batched",
            f"{statistics.median(t / o for o, t in zip(ours_, theirs, strict=True)):.1f}",
        ),
    ]


def per_sample_transform() -> Callable[[Any], Any]:
    """Return the transform of one image: crop, flip, normalise."""
    return v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )


def end_to_end(repeats: int, quick: bool, trainer: str) -> list[Row]:
    """Measure images per second of ResNet-18 at 32 px: ours, a plain DataLoader loop, and timm's loader and model."""
    steps = 6 if quick else 20
    data = random_splits(steps * 128, 32, 3, 128, val=128)
    settings = ["model=resnet18", "model.stem=imagenet", f"trainer={trainer}", "augment=flip_crop"]
    device = torch.device("cuda" if trainer == "gpu" else "cpu")
    images = data.train.images[:].numpy()
    samples = [(Image.fromarray(image), int(label)) for image, label in zip(images, data.train.labels, strict=True)]
    loaders = {"a plain DataLoader with per-sample transforms": plain_loader(samples)}
    with suppress(ImportError):
        loaders["timm's loader and model"] = timm_loader(samples, device)
    networks = [dlzoo.build_model("resnet18", num_classes=10, image_size=32, stem="imagenet")]
    if len(loaders) > 1:
        import timm  # pyright: ignore[reportMissingImports]

        networks.append(timm.create_model("resnet18", num_classes=10))
    columns = interleaved(
        repeats,
        lambda: (ours(settings, data, 3) - ours(settings, data, 1)) / 2,
        *(
            partial(loader_loop, loader, network, device)
            for loader, network in zip(loaders.values(), networks, strict=True)
        ),
    )
    speed = steps * 128 / statistics.median(columns[0])
    rows = [("ResNet-18, 32 px, batch 128, end to end: ours, with EMA and validation", f"{speed:,.0f} img/s")]
    for name, column in zip(loaders, columns[1:], strict=True):
        ratio = statistics.median(theirs / o for o, theirs in zip(columns[0], column, strict=True))
        rows.append((f"  ours / {name}", f"{ratio:.2f}"))
    return rows


def plain_loader(samples: list[tuple[Image.Image, int]]) -> DataLoader:
    """Return a DataLoader as tutorials write it."""
    transform = per_sample_transform()
    dataset = Transformed(samples, transform)
    return DataLoader(dataset, 128, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


class Transformed(Dataset):
    """A data set of images that are transformed on access."""

    def __init__(self, samples: list[tuple[Image.Image, int]], transform: Callable[[Any], Any] | None) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.samples[index]
        return image if self.transform is None else self.transform(image), label


def timm_loader(samples: list[tuple[Image.Image, int]], device: torch.device) -> Any:
    """Return the loader of timm's training script at 32 px, with its default augmentation (random resized crop)."""
    from timm.data.loader import create_loader  # pyright: ignore[reportMissingImports]

    dataset: Any = Transformed(samples, None)
    return create_loader(
        dataset,
        input_size=(3, 32, 32),
        batch_size=128,
        is_training=True,
        no_aug=False,
        num_workers=2,
        persistent_workers=True,
        device=device,
    )


def loader_loop(loader: Any, network: nn.Module, device: torch.device) -> float:
    """Return the seconds of an epoch of a hand-written loop over a loader."""
    network.to(device, memory_format=torch.channels_last).train()  # pyright: ignore
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, fused=True)
    loss_fn = nn.CrossEntropyLoss()
    synchronise(device)
    began = time.perf_counter()
    for images, labels in loader:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(images)
        loss_fn(logits.float(), labels.to(device, non_blocking=True)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
    synchronise(device)
    return time.perf_counter() - began
