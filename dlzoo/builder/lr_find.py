"""`dlzoo lr-find`: the learning-rate range test."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log
from pathlib import Path

import torch
from rich.text import Text

from dlzoo import config as configs
from dlzoo.builder.compatibility import load_data
from dlzoo.builder.trainer import Assembled
from dlzoo.core.console import Console
from dlzoo.core.errors import UserError
from dlzoo.core.files import write_atomically
from dlzoo.engine.timing import LossCurve
from dlzoo.metrics.plots import lr_range
from dlzoo.runs.figures import write_png
from dlzoo.runs.run_dir import make_folder

#: The test ends when the loss is this many times the smallest one.
_WORST = 4.0
#: Weight of the previous losses in the smoothed one: the loss of a single batch is noisy.
_SMOOTH = 0.9


@dataclass(frozen=True)
class RangeTest:
    """Result of a learning-rate range test.

    Args:
        dir: the folder of lr_find.png and lr_find.json.
        rates, losses: learning rate and smoothed loss of each step.
        suggestion: the rate at which the loss falls fastest per log-rate, at most a tenth of that of
            the lowest loss.
    """

    dir: Path
    rates: list[float]
    losses: list[float]
    suggestion: float


def lr_find(words: Sequence[str], console: Console | None = None) -> RangeTest:
    """Learning-rate range test: train while the rate rises, as in Smith, arXiv:1506.01186, section 3.3.

    The rate is that of the optimizer's first parameter group, and the suggestion is for the config's optimizer: a rate
    for Adam is not one for SGD. The network is not saved.

    Args:
        words: settings of the training, and of the test: low=1e-6, high=10, steps=100.

    Raises:
        UserError: for an invalid config, or a loss that never falls.
    """
    console = console or Console()
    low, high, steps, overrides = _parse_words(words)
    config = configs.compose(overrides) | {
        "schedule": {"name": "constant", "warmup": 0.0}
    }  # the test sets the rate itself
    data = replace(load_data(config), val=None)
    epochs = -(-steps // max(1, len(data.train) // data.batch_size))
    limits = {"max_epochs": epochs, "log_every": 10**9, "validate_every_epochs": 1}
    limits |= dict.fromkeys(("max_steps", "limit_batches", "early_stopping", "validate_every_steps"))
    curve = LossCurve(steps, _WORST)
    trainer = config["trainer"] | limits | {"devices": 1, "nodes": 1}
    assembled = Assembled(config | {"trainer": trainer}, data=data, callbacks=[curve])
    base = assembled.run_recipe.effective_lr
    assembled.module.recipe.lr_factor = lambda step: low * (high / low) ** (min(step, steps - 1) / (steps - 1)) / base
    with torch.random.fork_rng(devices=[]):
        try:
            assembled.fit(None, [])
        except UserError:  # the loss diverged at the end of an epoch, which is expected at high rates
            if len(curve.losses) < 20:
                raise
    losses = _smooth_losses(curve.losses)
    rates = [low * (high / low) ** (step / (steps - 1)) for step in range(len(losses))]
    lowest = rates[losses.index(min(losses))]
    # With one seed, noise can make the last step before the lowest loss the steepest: too high a rate for a full run.
    suggestion = min(steepest_rate(rates, losses), lowest / 10)
    folder = make_folder(f"lr-find_{config['model']['name']}_{config['optimizer']['name']}")
    result = RangeTest(folder, rates, losses, suggestion)
    name = f"{config['model']['name']}, {config['optimizer']['name']}, batch {data.batch_size}"
    write_png(lr_range(result.rates, result.losses, result.suggestion, name), result.dir / "lr_find.png")
    content = {"config": config, "rates": rates, "losses": losses, "suggestion": result.suggestion}
    write_atomically(result.dir / "lr_find.json", json.dumps(content, indent=1) + "\n")
    _print(console, result, lowest, high if len(losses) >= steps else None, overrides)
    return result


def _print(console: Console, result: RangeTest, lowest: float, high: float | None, overrides: Sequence[str]) -> None:
    """Print the result; `high` is the end of the range, or None if the loss diverged before it."""
    end = f"the loss diverged at {result.rates[-1]:.2g}" if high is None else f"tested up to {high:g}"
    rate = f"optimizer.lr={result.suggestion:.2g}"
    for line in (
        f"suggestion  {rate}: the loss falls there, and is still stable at ten times this rate",
        f"lowest      at {lowest:.2g}; {end}",
        f"plot        {result.dir / 'lr_find.png'}",
        f"next        python train.py {shlex.join([*overrides, rate])}",
    ):
        console.print(Text(line), soft_wrap=True)


def _parse_words(words: Sequence[str]) -> tuple[float, float, int, list[str]]:
    """Parse the arguments: (low, high, steps, the settings of the training)."""
    arguments, overrides = {"low": "1e-6", "high": "10", "steps": "100"}, []
    for word in words:
        key, _, value = word.partition("=")
        if key in arguments:
            arguments[key] = value
        else:
            overrides.append(word)
    try:
        low, high, steps = float(arguments["low"]), float(arguments["high"]), int(arguments["steps"])
    except ValueError:
        raise UserError("low, high and steps must be numbers: dlzoo lr-find low=1e-6 high=10 steps=100") from None
    if not 0 < low < high < inf or steps < 20:
        raise UserError(f"lr-find needs 0 < low < high and at least 20 steps, not {low=:g}, {high=:g}, {steps=}")
    return low, high, steps, overrides


def _smooth_losses(losses: Sequence[float]) -> list[float]:
    """Return bias-corrected exponential moving averages."""
    mean, smoothed = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = _SMOOTH * mean + (1 - _SMOOTH) * loss
        smoothed.append(mean / (1 - _SMOOTH**count))
    return smoothed


def steepest_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Return the rate, before the smallest loss, at which the loss falls fastest against the rate's logarithm.

    Raises:
        UserError: if it never falls.
    """
    lowest, wide = losses.index(min(losses)), 2
    slopes = {
        step: (losses[step + wide] - losses[step - wide]) / log(rates[step + wide] / rates[step - wide])
        for step in range(wide, min(lowest, len(losses) - wide))
    }
    if not slopes or min(slopes.values()) >= 0:
        raise UserError("lr-find: the loss does not fall at any rate; try low=1e-8, or another optimizer")
    return rates[min(slopes, key=slopes.__getitem__)]
