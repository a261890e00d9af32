"""How much the framework costs: ratios and differences measured in one process, medians of interleaved repetitions.

    python scripts/bench.py [--device cuda] [--repeats 5] [--quick] [--only loop end sweeps report ...]

Ours is a whole run (progress bar, TensorBoard, metrics.jsonl, checkpoints, clipping, EMA and schedule on, a log
every 50 steps); the bare loop beside it trains the same network on the same batches with the same clipping, EMA,
schedule and validation, and prints, logs and saves nothing.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from bench_detection import detector_costs, suppressor_costs
from bench_recipes import recipe_costs
from bench_report import report_costs
from bench_sweeps import sweep_costs
from PIL import Image
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import dlzoo
from dlzoo.builder.model import build
from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose
from dlzoo.core.rng import Streams
from dlzoo.data.image_set import ImageSet
from dlzoo.data.loader import EvalLoader, TrainLoader
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import ImageTransform, Normalise
from dlzoo.engine.checkpoints import Checkpoints
from dlzoo.engine.display import Display
from dlzoo.engine.ema import Ema
from dlzoo.optim.settings import Span
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.classification.metrics import ClassificationEvaluation

CLIP, EMA = 1.0, 0.99
Row = tuple[str, str]


def interleaved(repeats: int, *variants: Callable[[], float]) -> list[list[float]]:
    """Each variant's seconds, `repeats` times, in turn: A B A B ..., after one turn that does not count."""
    rows = [[variant() for variant in variants] for _ in range(repeats + 1)]
    return [list(column) for column in zip(*rows[1:], strict=True)]


def random_splits(count: int, size: int, channels: int, batch_size: int, val: int = 1000) -> Splits:
    """Noise in the shape of a data set."""
    train, validation, test = (
        Split(torch.randint(0, 256, (n, size, size, channels), dtype=torch.uint8), torch.randint(0, 10, (n,)))
        for n in (count, val, 10)
    )
    return Splits(train, validation, test, ImageSet(train, test, tuple("0123456789")), batch_size)


class Follower(pl.Callback):
    """A callback that is called for every step."""

    def on_train_batch_end(self, *words: Any, **more: Any) -> None:
        return None


def ours(overrides: list[str], data: Splits, epochs: int, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Seconds of trainer.fit with everything on."""
    config = compose([*overrides, f"trainer.clip_norm={CLIP}", f"trainer.ema={EMA}", f"trainer.max_epochs={epochs}"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config)
        log = MetricLog(run, 0)
        made = Assembled(config, log.scalars, data=data, callbacks=callbacks)
        terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
        own = [Display(terminal), Checkpoints(run.last_checkpoint, run.best_checkpoint)]
        began = time.perf_counter()
        made.fit(None, own)
        seconds = time.perf_counter() - began
        log.close()
    return seconds


def bare(overrides: list[str], data: Splits, epochs: int, *, compiled: bool = False) -> float:
    """Seconds of the loop that one would write by hand for the same training."""
    config = compose(overrides)
    made = Assembled(config, data=data)
    network, feed, device = made.task.network, made.task.loaders.train, torch.device("cpu")
    if made.accelerator == "gpu":
        device = torch.device("cuda")
        network.to(device)
        made.task.normalise.to(device)
        feed.to(device)
    network.train()
    if compiled:
        network.compile(dynamic=False)
    optimizer = made.task.recipe.make_optimizer(network)
    averaged = deepcopy(network).requires_grad_(False)
    average = Ema(averaged, network, EMA)
    loss_fn, rates = nn.CrossEntropyLoss(), [group["lr"] for group in optimizer.param_groups]
    total, evaluation = epochs * feed.steps_per_epoch, made.task.loaders.val
    assert evaluation is not None
    evaluation.to(device)
    schedule = build("schedule", "cosine")(Span(total, feed.steps_per_epoch))
    parameters = list(network.parameters())
    synchronise(device)
    began = time.perf_counter()
    for step in range(total):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step)
        for images, labels, *_ in feed.batches(step):
            with torch.autocast(device.type, torch.bfloat16, enabled=made.precision == "bf16-mixed"):
                logits = network(images)
            loss_fn(logits.float(), labels).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        average.update(first=step == 0)
        if (step + 1) % feed.steps_per_epoch == 0:
            validate(averaged.eval(), evaluation)
    synchronise(device)
    return time.perf_counter() - began


def validate(network: nn.Module, feed: EvalLoader) -> dict[str, float]:
    """The numbers that ours has of the validation split."""
    with torch.inference_mode():
        batches = [batch for number in range(len(feed)) if (batch := feed.batch(number)) is not None]
        logits = torch.cat([network(batch.images).float() for batch in batches])
        labels = torch.cat([batch.labels for batch in batches])
        evaluation = ClassificationEvaluation(nn.CrossEntropyLoss(), logits.shape[1])
        evaluation.update(logits, labels, range(len(labels)))
        evaluation.count = len(labels)
        return evaluation.compute()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def loop_costs(repeats: int, quick: bool, trainer: str) -> list[Row]:
    """Ours against the bare loop, inside an epoch and at its end."""
    tiny = ["model=mlp", "model.hidden=[32]", f"trainer={trainer}", "augment=none", "optimizer.lr=0.001"]
    short, long, epochs = (500, 1500, 30) if quick else (500, 3000, 100)
    small, middle, large, few = (random_splits(steps * 16, 8, 1, 16) for steps in (short, 2 * short, long, 20))
    columns = interleaved(
        2 * repeats,
        lambda: ours(tiny, large, 1) - ours(tiny, small, 1),
        lambda: bare(tiny, large, 1) - bare(tiny, small, 1),
        lambda: ours(tiny, few, 2 + epochs) - ours(tiny, few, 2),
        lambda: bare(tiny, few, 2 + epochs) - bare(tiny, few, 2),
        lambda: ours(tiny, middle, 1, [Follower()]) - ours(tiny, small, 1, [Follower()]),
    )
    rows = list(zip(*columns, strict=True))
    step = statistics.median((o - b) / (long - short) for o, b, *_ in rows)
    end = statistics.median((o - b) / epochs for _, _, o, b, _ in rows) - 20 * step
    followed = statistics.median(f / short - o / (long - short) for o, _, _, _, f in rows)
    bare_step = statistics.median(columns[1]) / (long - short)
    resnet = ["model=resnet20", f"trainer={trainer}", "augment=flip_crop"]
    few, more = (random_splits(steps * 128, 32, 3, 128) for steps in ((4, 14) if quick else (5, 45)))
    whole, loop = interleaved(
        repeats,
        lambda: ours(resnet, more, 1) - ours(resnet, few, 1),
        lambda: bare(resnet, more, 1) - bare(resnet, few, 1),
    )
    ratio = statistics.median(o / b for o, b in zip(whole, loop, strict=True))
    return [
        ("tiny MLP: a step of the bare loop", f"{bare_step * 1e3:.3f} ms"),
        ("tiny MLP: ours - bare, a step inside an epoch", f"{step * 1e3:+.3f} ms"),
        ("tiny MLP: ours - bare, an epoch's end with validation", f"{end * 1e3:+.1f} ms"),
        ("tiny MLP: a callback that follows steps, a step more", f"{followed * 1e3:+.2f} ms"),
        ("ResNet-20, batch 128, steps inside an epoch: ours / bare", f"{ratio:.3f}"),
    ]


def gpu_costs(repeats: int, quick: bool, trainer: str) -> list[Row]:
    """ResNet-18 with the small stem on a set of CIFAR-10's size, batch 512: an epoch, as it is and compiled."""
    count = 2048 if quick else 50_000
    data, rows = random_splits(count, 32, 3, 512), []
    for compiled in (False, True):
        settings = ["model=resnet18", f"trainer={trainer}", f"trainer.compile={str(compiled).lower()}"]
        settings += ["augment=flip_crop"]
        long, short = (partial(ours, settings, data, epochs) for epochs in (4, 1))
        bare_long, bare_short = (partial(bare, settings, data, epochs, compiled=compiled) for epochs in (4, 1))
        columns = interleaved(
            repeats, partial(difference, long, short, 3), partial(difference, bare_long, bare_short, 3)
        )
        seconds, name = statistics.median(columns[0]), "compiled" if compiled else "eager"
        ratio = statistics.median(o / b for o, b in zip(*columns, strict=True))
        rows += [
            (f"ResNet-18, small stem, batch 512, {name}: an epoch with validation", f"{seconds:.2f} s"),
            ("  images/s", f"{count / seconds:,.0f}"),
            ("  ours / bare", f"{ratio:.3f}"),
        ]
    return rows


def difference(long: Callable[[], float], short: Callable[[], float], epochs: int) -> float:
    """Seconds of one of the `epochs` that one has more than the other."""
    return (long() - short()) / epochs


def input_costs(repeats: int, quick: bool) -> list[Row]:
    """Crop, flip and normalise: batched against one image at a time through torchvision's transforms."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count, single = (10_000, 500) if quick else (50_000, 2_500)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8)
    split = Split(images, torch.zeros(count, dtype=torch.int64))
    normalise = Normalise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    feed = TrainLoader(split, ImageTransform(build("augment", "flip_crop"), normalise), Streams(0), 128, 1)
    pictures = [Image.fromarray(image.numpy()) for image in images[:single]]
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
            torch.stack([transform(picture) for picture in pictures[start : start + 128]])
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
    """Crop, flip and normalise, of one picture."""
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
    """Images a second of ResNet-18 on 32 px images: ours, a plain DataLoader loop, and timm's parts."""
    steps = 6 if quick else 20
    data = random_splits(steps * 128, 32, 3, 128, val=128)
    settings = ["model=resnet18", "model.stem=imagenet", f"trainer={trainer}", "augment=flip_crop"]
    device = torch.device("cuda" if trainer == "gpu" else "cpu")
    images = data.train.images[:].numpy()
    pictures = [(Image.fromarray(image), int(label)) for image, label in zip(images, data.train.labels, strict=True)]
    loaders = {"a plain DataLoader with per-sample transforms": plain_loader(pictures)}
    with suppress(ImportError):
        loaders["timm's loader and model"] = timm_loader(pictures, device)
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


def plain_loader(pictures: list[tuple[Image.Image, int]]) -> DataLoader:
    """What a tutorial writes."""
    transform = per_sample_transform()
    dataset = Transformed(pictures, transform)
    return DataLoader(dataset, 128, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)


class Transformed(Dataset):
    """Pictures, each transformed when it is asked for."""

    def __init__(self, pictures: list[tuple[Image.Image, int]], transform: Callable[[Any], Any] | None) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture, label = self.pictures[index]
        return picture if self.transform is None else self.transform(picture), label


def timm_loader(pictures: list[tuple[Image.Image, int]], device: torch.device) -> Any:
    """The loader of timm's train script for images of 32 px, with its usual augmentation (a random resized crop)."""
    from timm.data.loader import create_loader  # pyright: ignore[reportMissingImports]

    dataset: Any = Transformed(pictures, None)
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
    """Seconds of an epoch over a loader, as a hand-written loop does it."""
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


def start_costs(repeats: int) -> list[Row]:
    """The first step of `python train.py` against the imports that it cannot do without."""
    imports = "import torch, pytorch_lightning, torch.utils.tensorboard"

    def seconds(*words: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
            return time.perf_counter() - began

    first = (
        "import os; from dlzoo.engine.task_module import TaskModule; step = TaskModule._step\n"
        "def stop(self, number): step(self, number); os._exit(0)\n"
        "TaskModule._step = stop\n"
        "from dlzoo.cli import main; main(['train'])"
    )
    imported, stepped = interleaved(repeats, lambda: seconds("-c", imports), lambda: seconds("-c", first))
    extra = statistics.median(s - i for i, s in zip(imported, stepped, strict=True))
    return [
        ("imports of torch, Lightning and TensorBoard", f"{statistics.median(imported):.2f} s"),
        ("first step of python train.py, after the imports", f"{extra:+.2f} s"),
        ("first step / imports", f"{statistics.median(s / i for i, s in zip(imported, stepped, strict=True)):.2f}"),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smaller, noisier")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=["loop", "input", "recipes", "end", "start", "sweeps", "report", "suppressors", "detector", "gpu"],
    )
    arguments = parser.parse_args()
    trainer = {"cpu": "cpu", "cuda": "gpu"}[arguments.device]
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{platform.machine()} CPU"
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.repeats} repetitions")
    repeats, quick = arguments.repeats, arguments.quick
    costs: dict[str, Callable[[], list[Row]]] = {
        "loop": lambda: loop_costs(repeats, quick, trainer),
        "input": lambda: input_costs(repeats, quick),
        "recipes": lambda: recipe_costs(repeats, quick),
        "end": lambda: end_to_end(repeats, quick, trainer),
        "start": lambda: start_costs(repeats),
        "sweeps": lambda: sweep_costs(repeats, quick),
        "report": lambda: report_costs(repeats, quick),
        "suppressors": lambda: suppressor_costs(repeats),
    }
    if arguments.device == "cuda":
        costs["gpu"] = lambda: gpu_costs(repeats, quick, trainer)
        costs["detector"] = lambda: detector_costs(repeats, quick, trainer)
    for kind, measure in costs.items():
        for name, value in measure() if kind in (arguments.only or costs) else []:
            print(f"| {name:<67} | {value:>11} |", flush=True)


if __name__ == "__main__":
    main()
