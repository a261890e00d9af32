"""Measure the images per second of each augmentation, for scripts/bench.py."""

from __future__ import annotations

import statistics
import time

import torch

from dlzoo.builder.parts import as_section
from dlzoo.core.registries import AUGMENTS
from dlzoo.core.rng import Streams
from dlzoo.data.loader import TrainLoader
from dlzoo.data.split import Split, channel_statistics
from dlzoo.data.transforms.batch import ImageTransform, Normalise


def recipe_costs(repeats: int, quick: bool) -> list[tuple[str, str]]:
    """Measure each augmentation with normalisation on one thread, and flip_crop also with cutout, mixup and cutmix."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    count = 1_280 if quick else 10_240
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.randint(10, (count,), generator=generator))
    normalise = Normalise(*channel_statistics(images))

    def epoch(name: str, **settings: float) -> float:
        common, augment = AUGMENTS.from_section(as_section(AUGMENTS, {"name": name, **settings}))
        feed = TrainLoader(split, ImageTransform(augment, normalise, common.mixer(10)), Streams(0), 128)
        began = time.perf_counter()
        for step in range(feed.steps_per_epoch):
            for _ in feed.batches(step):
                pass
        return time.perf_counter() - began

    mixtures = ({"cutout": 16}, {"mixup": 0.2}, {"cutmix": 1.0})
    cases = [(name, {}) for name in AUGMENTS.names()] + [("flip_crop", mixture) for mixture in mixtures]
    # In turn, after a warm-up that is not counted.
    rows = [[epoch(name, **settings) for name, settings in cases] for _ in range(repeats + 1)][1:]
    torch.set_num_threads(threads)
    return [
        (
            f"augment={name} {' '.join(f'augment.{key}={value:g}' for key, value in settings.items())}".strip(),
            f"{count / statistics.median(column):,.0f} images/s",
        )
        for (name, settings), column in zip(cases, zip(*rows, strict=True), strict=True)
    ]
