"""Measure the training loop against a hand-written one, for scripts/bench.py."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import nn

from dlzoo.builder.model import build
from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose
from dlzoo.core.errors import Interrupted
from dlzoo.data.image_set import ImageSet
from dlzoo.data.loader import EvalLoader
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.engine.checkpoints import Checkpoints
from dlzoo.engine.display import Display
from dlzoo.engine.ema import Ema
from dlzoo.engine.hooks.build import build_hooks
from dlzoo.engine.hooks.hook import Start
from dlzoo.engine.hooks.running import RunHooks
from dlzoo.optim.settings import Span
from dlzoo.runs.metric_log import MetricLog
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.classification.metrics import ClassificationEvaluation

CLIP, EMA = 1.0, 0.99
Row = tuple[str, str]


def interleaved(repeats: int, *variants: Callable[[], float]) -> list[list[float]]:
    """Return the seconds of each variant, `repeats` times in turn: A B A B ..., after a warm-up that is not counted."""
    rows = [[variant() for variant in variants] for _ in range(repeats + 1)]
    return [list(column) for column in zip(*rows[1:], strict=True)]


def random_splits(count: int, size: int, channels: int, batch_size: int, val: int = 1000) -> Splits:
    """Return random images and labels in the shape of a data set."""
    train, validation, test = (
        Split(torch.randint(0, 256, (n, size, size, channels), dtype=torch.uint8), torch.randint(0, 10, (n,)))
        for n in (count, val, 10)
    )
    return Splits(train, validation, test, ImageSet(train, test, tuple("0123456789")), batch_size)


class StepCallback(pl.Callback):
    """A callback that is called at every step."""

    def on_train_batch_end(self, *words: Any, **more: Any) -> None:
        return None


def ours(overrides: list[str], data: Splits, epochs: int, callbacks: Sequence[pl.Callback] = ()) -> float:
    """Return the seconds of trainer.fit with all features on."""
    config = compose([*overrides, f"trainer.clip_norm={CLIP}", f"trainer.ema={EMA}", f"trainer.max_epochs={epochs}"])
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder) / "run", config)
        hooks = RunHooks(build_hooks(config, run.path).hooks)
        hooks.fit_start(Start(run.path, config, 0))
        log = MetricLog(run, 0, listener=hooks.log)
        assembled = Assembled(config, log.scalars, data=data, callbacks=callbacks)
        terminal = Console(file=io.StringIO(), force_terminal=True, width=100)
        own_callbacks = [Display(terminal), *hooks.callbacks(), Checkpoints(run.last_checkpoint, run.best_checkpoint)]
        began = time.perf_counter()
        assembled.fit(None, own_callbacks)
        seconds = time.perf_counter() - began
        log.close()
        hooks.exception(Interrupted())
    return seconds


def bare(overrides: list[str], data: Splits, epochs: int, *, compiled: bool = False) -> float:
    """Return the seconds of a hand-written loop for the same training."""
    config = compose(overrides)
    assembled = Assembled(config, data=data)
    network, feed, device = assembled.module.network, assembled.module.loaders.train, torch.device("cpu")
    if assembled.accelerator == "gpu":
        device = torch.device("cuda")
        network.to(device)
        assembled.module.normalise.to(device)
        feed.to(device)
    network.train()
    if compiled:
        network.compile(dynamic=False)
    optimizer = assembled.module.recipe.make_optimizer(network)
    averaged = deepcopy(network).requires_grad_(False)
    average = Ema(averaged, network, EMA)
    loss_fn, rates = nn.CrossEntropyLoss(), [group["lr"] for group in optimizer.param_groups]
    total, evaluation = epochs * feed.steps_per_epoch, assembled.module.loaders.val
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
            with torch.autocast(device.type, torch.bfloat16, enabled=assembled.precision == "bf16-mixed"):
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
    """Compute the same validation metrics as ours."""
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
    """Compare ours with the bare loop, inside an epoch and at its end."""
    tiny = ["model=mlp", "model.hidden=[32]", f"trainer={trainer}", "augment=none", "optimizer.lr=0.001"]
    short, long, epochs = (500, 1500, 30) if quick else (500, 3000, 100)
    small, middle, large, few = (random_splits(steps * 16, 8, 1, 16) for steps in (short, 2 * short, long, 20))
    columns = interleaved(
        2 * repeats,
        lambda: ours(tiny, large, 1) - ours(tiny, small, 1),
        lambda: bare(tiny, large, 1) - bare(tiny, small, 1),
        lambda: ours(tiny, few, 2 + epochs) - ours(tiny, few, 2),
        lambda: bare(tiny, few, 2 + epochs) - bare(tiny, few, 2),
        lambda: ours(tiny, middle, 1, [StepCallback()]) - ours(tiny, small, 1, [StepCallback()]),
    )
    rows = list(zip(*columns, strict=True))
    step = statistics.median((o - b) / (long - short) for o, b, *_ in rows)
    end = statistics.median((o - b) / epochs for _, _, o, b, _ in rows) - 20 * step
    followed = statistics.median(f / short - o / (long - short) for o, _, _, _, f in rows)
    bare_step = statistics.median(columns[1]) / (long - short)
    resnet = ["model=resnet20", f"trainer={trainer}", "augment=flip_crop"]
    few, more = (random_splits(steps * 128, 32, 3, 128) for steps in ((4, 14) if quick else (5, 45)))
    complete, loop = interleaved(
        repeats,
        lambda: ours(resnet, more, 1) - ours(resnet, few, 1),
        lambda: bare(resnet, more, 1) - bare(resnet, few, 1),
    )
    ratio = statistics.median(o / b for o, b in zip(complete, loop, strict=True))
    return [
        ("tiny MLP: one step of the bare loop", f"{bare_step * 1e3:.3f} ms"),
        ("tiny MLP: ours - bare, per step inside an epoch", f"{step * 1e3:+.3f} ms"),
        ("tiny MLP: ours - bare, end of an epoch with validation", f"{end * 1e3:+.1f} ms"),
        ("tiny MLP: overhead per step of a callback at every step", f"{followed * 1e3:+.2f} ms"),
        ("ResNet-20, batch 128, steps inside an epoch: ours / bare", f"{ratio:.3f}"),
    ]


def gpu_costs(repeats: int, quick: bool, trainer: str) -> list[Row]:
    """Measure an epoch of ResNet-18 with the small stem on data of CIFAR-10's size, batch 512, eager and compiled."""
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
            (f"ResNet-18, small stem, batch 512, {name}: epoch with validation", f"{seconds:.2f} s"),
            ("  images/s", f"{count / seconds:,.0f}"),
            ("  ours / bare", f"{ratio:.3f}"),
        ]
    return rows


def difference(long: Callable[[], float], short: Callable[[], float], epochs: int) -> float:
    """Return the seconds of one epoch, from a long run with `epochs` more than the short one."""
    return (long() - short()) / epochs
