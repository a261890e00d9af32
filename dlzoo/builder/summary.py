"""Summaries that are printed before and after a run, from its run.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlzoo.core.given import classes_in
from dlzoo.core.registries import PARTS, TASKS

Record = dict[str, Any]

#: Settings that make the data harder, with the values that leave it unchanged.
_HARDER = {"imbalance": 1.0, "label_noise": 0.0, "sampler": "uniform", "test_shift": "none"}


def model_and_parts(config: Record) -> list[str]:
    """Return the model and the parts that differ from its defaults: ["timm", "convnext_tiny", "norm=gn"].

    A network that was given as an object is named by its class.
    """
    neutral = {kind: registry.neutral for kind, registry in PARTS.items()} | {"backbone": None}
    named = {kind: config.get(kind, {"name": "default"})["name"] for kind in neutral}
    parts = [f"{kind}={name}" for kind, name in named.items() if name not in ("default", neutral[kind])]
    arch = [config["model"]["arch"]] if "arch" in config["model"] else []
    return [classes_in(config).get("model") or config["model"]["name"], *arch, *parts]


def data_name(config: Record) -> str:
    """Return the name of the data, or the class of given data sets."""
    return classes_in(config).get("data") or config["data"]["name"]


def print_settings(console: Console, path: Path, record: Record) -> None:
    """Print model, size, data, training, device and run directory."""
    config, sizes, learn = record["config"], record["data_sizes"], record["trainable"]
    harder = {key: config["data"][key] for key, off in _HARDER.items() if config["data"][key] != off}
    lr, used = config["optimizer"]["lr"], record["effective_lr"]
    rate = f"lr={lr:g}" if used == lr else f"lr={lr:g}, effective {used:g}"
    processes = f"{record['ranks']} processes, each on " if record["ranks"] > 1 else ""
    limit = f" (data.limit={config['data']['limit']})" if config["data"]["limit"] else ""
    _print_rows(
        console,
        ("model", "  ".join(model_and_parts(config))),
        ("size", f"{record['params']:,} parameters, {record['macs'] / 1e6:,.1f} M multiply-accumulates per sample"),
        (
            "data",
            f"{data_name(config)}, {_shape(record)}, {TASKS.build(record['task']).describe(record)}: "
            + ", ".join(f"{count:,} {name}" for name, count in sizes.items())
            + limit
            + (f", {record['skipped']:,} unreadable images skipped" if record.get("skipped") else "")
            + "".join(f", data.{key}={value}" for key, value in harder.items()),
        ),
        (
            "training",
            f"{_losses(config)}, augment={config['augment']['name']}, {config['optimizer']['name']} {rate},"
            f" {config['schedule']['name']}, batch {record['batch_size']},"
            f" {_length(config['trainer'], record['steps_per_epoch'])},"
            f" seed {config['seed']}",
        ),
        *([("trainable", f"{learn:,} of {record['params']:,} parameters")] if learn < record["params"] else []),
        *([("note", note) for note in record.get("remarks", [])]),
        *([("weights", f"from {record['init_from']}")] if record["init_from"] else []),
        ("device", f"{processes}{record['device']}, {record['precision']}"),
        ("run", str(path)),
    )


def print_result(console: Console, path: Path, record: Record) -> None:
    """Print the result, time, plots, and suggested next commands."""
    monitor, zeros = record["monitor"], record["zero_weights"]
    value = record["metrics"].get(f"test/{monitor}")
    _print_rows(
        console,
        (
            f"test {monitor}",
            f"{'not defined' if value is None else f'{value:.4f}'} on {record['tested']:,} samples,"
            f" with the weights of epoch {record['selected_epoch']:g}",
        ),
        ("time", f"{record['wall_seconds']:.1f} s; {record['images_per_second']:,.0f} samples/s in training"),
        *([("zeros", f"{_count(zeros, 'weight')} exactly 0, of {record['params']:,} parameters")] if zeros else []),
        *[("note", note) for note in record.get("result_notes", {}).values()],
        ("plots", f"{path}/pictures: {', '.join(record['pictures'])}"),
        *_next_commands(path, record),
    )


def _next_commands(path: Path, record: Record) -> list[tuple[str, str]]:
    """Return rows with commands for a finished run; those that need its objects work in Python only."""
    commands = [] if classes_in(record["config"]) else [f"dlzoo eval run={path}"]
    if record["kind"] != "table" and "model" not in classes_in(record["config"]) and not record.get("float_images"):
        commands.append(f"dlzoo predict run={path} <images>")
    commands.append(f"tensorboard --logdir {path.parent}")
    return [("next" if place == 0 else "", command) for place, command in enumerate(commands)]


def print_metrics(console: Console, metrics: dict[str, float]) -> None:
    """Print one line per metric."""
    _print_rows(console, *((name, f"{value:.4f}") for name, value in metrics.items()), width=24)


def _shape(record: Record) -> str:
    if record["kind"] == "table":
        return _count(record["in_channels"], "feature")
    return f"{record['in_channels']} x {record['image_size']} x {record['image_size']}"


def _losses(config: Record) -> str:
    """Return the name of the loss, or the names of a sum; for a detector, of the classification and the box loss."""
    names = [name for key in ("loss", "box_loss") if key in config for name in _terms(config[key])]
    return " + ".join(name for name in names if name != "default")


def _length(trainer: Record, steps_per_epoch: int) -> str:
    """Describe the length of a run: "20 epochs of 22 steps", or "100 steps, 4.55 epochs of 22"."""
    epochs, steps = trainer["max_epochs"], trainer.get("max_steps")
    if steps is not None and steps < epochs * steps_per_epoch:
        return f"{_count(steps, 'step')}, {steps / steps_per_epoch:.3g} epochs of {steps_per_epoch:,}"
    return f"{_count(epochs, 'epoch')} of {_count(steps_per_epoch, 'step')}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _print_rows(console: Console, *rows: tuple[str, str], width: int = 15) -> None:
    width = max(width, *(len(name) + 1 for name, _ in rows))
    for name, value in rows:
        console.print(Text(f"{name:<{width}}", style="bold") + Text(value), soft_wrap=True)


def _terms(section: Record) -> list[str]:
    return list(section.get("of") or [section["name"]])
