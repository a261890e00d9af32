"""How much the framework costs: ratios and differences measured in one process, medians of interleaved repetitions.

    python scripts/bench.py [--device cuda] [--repeats 5] [--quick]

Ours is a whole run (progress bar, TensorBoard, metrics.jsonl, checkpoints, clipping, EMA and schedule on, a log
every 50 steps); the bare loop beside it trains the same network on the same batches with the same clipping, EMA and
schedule.
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
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from dlzoo.assembly import Assembled
from dlzoo.config import compose
from dlzoo.data.feed import Normalise, TrainFeed
from dlzoo.data.image_set import Split
from dlzoo.data.splits import Splits
from dlzoo.optim.settings import Span
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.run_dir import RunDir
from dlzoo.streams import Streams
from dlzoo.tasks.checkpoints import Checkpoints
from dlzoo.tasks.display import Display
from dlzoo.tasks.ema import Ema
from dlzoo.zoo import build

CLIP, EMA = 1.0, 0.99


def interleaved(repeats: int, *variants: Callable[[], float]) -> list[list[float]]:
    """Each variant's seconds, `repeats` times, in turn: A B A B ..., after one turn that does not count."""
    rows = [[variant() for variant in variants] for _ in range(repeats + 1)]
    return [list(column) for column in zip(*rows[1:], strict=True)]


def random_splits(count: int, size: int, channels: int, batch_size: int) -> Splits:
    """Noise in the shape of a data set, with a validation split of 1,000."""
    train, val, test = (
        Split(torch.randint(0, 256, (n, size, size, channels), dtype=torch.uint8), torch.randint(0, 10, (n,)))
        for n in (count, 1000, 10)
    )
    return Splits(train, val, test, tuple("0123456789"), batch_size)


def ours(overrides: list[str], data: Splits, epochs: int) -> float:
    """Seconds of trainer.fit with everything on."""
    config = compose([*overrides, f"trainer.clip_norm={CLIP}", f"trainer.ema={EMA}", f"trainer.max_epochs={epochs}"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config)
        log = MetricLog(run, 0)
        made = Assembled(config, log.scalars, data=data)
        terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
        callbacks = [Display(terminal), Checkpoints(run.last_checkpoint, run.best_checkpoint)]
        began = time.perf_counter()
        made.fit(None, callbacks)
        seconds = time.perf_counter() - began
        log.close()
    return seconds


def bare(overrides: list[str], data: Splits, epochs: int) -> float:
    """Seconds of the loop that one would write by hand for the same training."""
    config = compose(overrides)
    made = Assembled(config, data=data)
    network, feed, device = made.task.network, made.task.train_feed, torch.device("cpu")
    if made.accelerator == "gpu":
        device = torch.device("cuda")
        network.to(device)
        made.task.normalise.to(device)
        feed.to(device)
    network.train()
    optimizer = made.task.make_optimizer(network)
    averaged = deepcopy(network).requires_grad_(False)
    average = Ema(averaged, network, EMA)
    loss_fn, rates = nn.CrossEntropyLoss(), [group["lr"] for group in optimizer.param_groups]
    total = epochs * feed.steps_per_epoch
    schedule = build("schedule", "cosine")(Span(total, feed.steps_per_epoch))
    parameters = list(network.parameters())
    synchronise(device)
    began = time.perf_counter()
    for step in range(total):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step)
        for images, labels in feed.batches(step):
            with torch.autocast(device.type, torch.bfloat16, enabled=made.precision == "bf16-mixed"):
                logits = network(images)
            loss_fn(logits.float(), labels).backward()
        nn.utils.clip_grad_norm_(parameters, CLIP, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        average.update(first=step == 0)
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def loop_costs(repeats: int, quick: bool, trainer: str) -> list[tuple[str, str]]:
    """Ours against the bare loop, inside an epoch and at its end."""
    tiny = ["model=mlp", "model.hidden=[32]", f"trainer={trainer}", "augment=none", "optimizer.lr=0.001"]
    short, long = (500, 2500) if quick else (1000, 9000)
    small, large = (random_splits(steps * 16, 8, 1, 16) for steps in (short, long))
    columns = interleaved(
        repeats,
        lambda: ours(tiny, small, 1),
        lambda: ours(tiny, large, 1),
        lambda: bare(tiny, small, 1),
        lambda: bare(tiny, large, 1),
        lambda: ours(tiny, small, 9),
        lambda: bare(tiny, small, 9),
    )
    differences = [((o2 - o1) - (b2 - b1)) / (long - short) for o1, o2, b1, b2, _, _ in zip(*columns, strict=True)]
    step = statistics.median(differences)
    bare_step = statistics.median((b2 - b1) / (long - short) for _, _, b1, b2, _, _ in zip(*columns, strict=True))
    ends = [(o9 - o1 - (b9 - b1)) / 8 - step * short for o1, _, b1, _, o9, b9 in zip(*columns, strict=True)]
    resnet = ["model=resnet20", f"trainer={trainer}", "augment=none"]
    steps = 10 if quick else 40
    images = random_splits(steps * 128, 32, 3, 128)
    columns = interleaved(max(2, repeats - 2), lambda: ours(resnet, images, 1), lambda: bare(resnet, images, 1))
    validated = 1000 / 128 / 3 / steps  # the validation's forward passes, as a share of the steps' work
    ratio = statistics.median(o / b for o, b in zip(*columns, strict=True))
    return [
        ("tiny MLP: a bare step", f"{bare_step * 1e3:.3f} ms"),
        ("tiny MLP: ours - bare, a step inside an epoch", f"{step * 1e3:+.3f} ms"),
        ("tiny MLP: ours - bare, an epoch's end with validation", f"{statistics.median(ends) * 1e3:.1f} ms"),
        (f"ResNet-20, batch 128, an epoch of {steps} steps: ours / bare", f"{ratio:.3f}"),
        ("  of which the validation's own forward passes, about", f"{validated:.3f}"),
    ]


def input_costs(repeats: int, quick: bool) -> list[tuple[str, str]]:
    """Crop, flip and normalise: batched against one image at a time through torchvision's transforms."""
    from PIL import Image
    from torchvision.transforms import v2

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count, single = (10_000, 500) if quick else (50_000, 2_500)
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8)
    split = Split(images, torch.zeros(count, dtype=torch.int64))
    normalise = Normalise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    feed = TrainFeed(split, normalise, build("augment", "flip_crop"), Streams(0), 128, 1)
    pictures = [Image.fromarray(image.numpy()) for image in images[:single]]
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )

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


def start_costs(repeats: int) -> list[tuple[str, str]]:
    """The first step of `python train.py` against the imports that it cannot do without."""
    imports = "import torch, pytorch_lightning, torch.utils.tensorboard"

    def seconds(*words: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, cwd=folder)
            return time.perf_counter() - began

    first = (
        "import os; from dlzoo.tasks.task import Task; step = Task._step\n"
        "def stop(self, number): step(self, number); os._exit(0)\n"
        "Task._step = stop\n"
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
    arguments = parser.parse_args()
    trainer = {"cpu": "cpu", "cuda": "gpu"}[arguments.device]
    machine = torch.cuda.get_device_name() if arguments.device == "cuda" else f"{platform.machine()} CPU"
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.repeats} repetitions")
    rows = loop_costs(arguments.repeats, arguments.quick, trainer)
    rows += input_costs(arguments.repeats, arguments.quick) + start_costs(arguments.repeats)
    for name, value in rows:
        print(f"| {name:<62} | {value:>10} |")


if __name__ == "__main__":
    main()
