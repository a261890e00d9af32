"""A run from its first line to its last: one process over one directory."""

from __future__ import annotations

import shutil
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console

from dlzoo import config as configs
from dlzoo.assembly import Assembled
from dlzoo.errors import Interrupted, UserError, first_line
from dlzoo.metrics import pictures
from dlzoo.metrics.classification import confusion_matrix
from dlzoo.runs import environment, summary
from dlzoo.runs.metric_log import MetricLog, read_metrics
from dlzoo.runs.run_dir import RunDir, fresh_folder
from dlzoo.tasks.checkpoints import Checkpoints
from dlzoo.tasks.display import Display, PatientConsole
from dlzoo.tasks.signals import Stop, signals
from dlzoo.weights import load_checkpoint

Config = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run that was carried out: where it lies and what it measured, {"test/accuracy": ...}."""

    dir: Path
    metrics: dict[str, float]


def train(overrides: Sequence[str] = (), *, quiet: bool = False) -> Run:
    """Compose, check and freeze a config into a new run directory, and carry it out.

    Raises:
        UserError: for anything that the user can mend.
        Interrupted: after Ctrl-C, when the checkpoint is written.
    """
    return begin(configs.compose(overrides), PatientConsole(quiet=quiet))


def begin(config: Config, console: Console | None = None) -> Run:
    """`train`, of a config that is frozen already."""
    label = config["name"] or f"{config['model']['name']}_{config['norm']['name']}_{config['data']['name']}"
    path = Path(config["run_dir"]).expanduser() if config["run_dir"] else fresh_folder(label)
    run = RunDir.create(path, config)
    try:
        return execute(run, console)
    except UserError:
        # A folder that was made and named here a moment ago, and that nothing happened in.
        if config["run_dir"] is None and not run.has_begun():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def execute(run: RunDir, console: Console | None = None) -> Run:
    """Carry out a run, from its last checkpoint if it has one. A finished run is left as it is.

    Raises:
        UserError, Interrupted: as `train`.
    """
    console = console or PatientConsole()
    config, before = configs.read(run.config_file), run.read()
    if before["state"] == "finished":
        console.print(f"{run.path} is finished: nothing to do", soft_wrap=True)
        return Run(run.path, before["metrics"])
    started = perf_counter()

    def wall_seconds() -> float:
        return before.get("wall_seconds", 0.0) + perf_counter() - started

    with run.lock(), signals() as stop, torch.random.fork_rng(devices=[]):
        try:
            run.update(
                state="running", error=None, versions=environment.versions(), git_commit=environment.git_commit()
            )
            _carry_out(run, config, before, console, stop)
            run.update(state="finished", wall_seconds=wall_seconds())
            record = run.read()
            summary.after(console, run.path, record)
            return Run(run.path, record["metrics"])
        except BaseException as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            text = str(error) if isinstance(error, UserError) else traceback.format_exc()
            state, text = ("interrupted", None) if stopped else ("failed", text)
            with suppress(OSError):  # on a full disk the error itself matters more than its record
                run.update(state=state, error=text, wall_seconds=wall_seconds())
            if stopped:
                raise Interrupted(f"{str(error) or 'stopped'}; go on with: dlzoo run {run.path}") from None
            if isinstance(error, OSError):  # a folder that cannot be written, a disk that is full
                raise UserError(f"{run.path}: {error}") from error
            if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
                raise UserError(f"out of memory ({first_line(error)}); choose a smaller data.batch_size, "
                                "trainer.accumulate > 1, or a smaller model") from error  # fmt: skip
            raise


def _carry_out(run: RunDir, config: Config, before: dict[str, Any], console: Console, stop: Stop) -> None:
    """Train, test, write down and draw."""
    checkpoint = run.last_checkpoint if run.last_checkpoint.exists() else None
    _refuse_damage(run, config, before, checkpoint)
    log = MetricLog(run, load_checkpoint(checkpoint)["task"]["clock"] if checkpoint else 0)
    try:
        # A checkpoint has the weights that init_from once brought.
        made = Assembled(config | {"init_from": None} if checkpoint else config, log.scalars)
        task, plan = made.task, made.task.plan
        if checkpoint:
            if before.get("data_fingerprint") != made.data.fingerprint:
                raise UserError(f"{run.path}: the data is not what the run began with; start a new run")
            made.load(checkpoint)
        run.update(**made.facts() | ({"init_from": before.get("init_from")} if checkpoint else {}))
        summary.before(console, run.path, run.read())
        environment.reset_peak_memory(made.accelerator)
        display = Display(console)
        with stop.listening(lambda: setattr(task, "stop_requested", True)):
            made.fit(checkpoint, [display, Checkpoints(run.last_checkpoint, run.best_checkpoint)])
        selected = made.load(run.selected_checkpoint())
        metrics, (logits, labels) = made.test([display])
        log.scalars(task.clock, plan.epochs_at(task.clock), metrics)
        run.update(
            metrics={key: value for key, value in selected["latest"].items() if key.startswith("val/")} | metrics,
            monitor=task.monitor,
            tested=len(labels),
            selected_epoch=plan.epochs_at(selected["clock"]),
            steps=task.clock,
            images_per_second=task.clock * made.data.batch_size / max(task.train_seconds, 1e-9),
            peak_memory_bytes=environment.peak_memory(made.accelerator),
        )
        log.picture("curves", pictures.curves(read_metrics(run.metrics_file), run.path.name), task.clock)
        matrix = confusion_matrix(logits, labels)
        log.picture("confusion", pictures.confusion(matrix, made.data.classes), task.clock)
        mistakes = pictures.worst_mistakes(made.data.test.images, logits, labels, made.data.classes)
        log.picture("mistakes", mistakes, task.clock)
        log.hyperparameters(_flat(config), metrics)
    finally:
        log.close()


def _refuse_damage(run: RunDir, config: Config, before: dict[str, Any], checkpoint: Path | None) -> None:
    """A run that began goes on as it began, or not at all.

    Raises:
        UserError: if its config was edited, or its last checkpoint is gone.
    """
    now, then = _flat(config), _flat(before["config"])
    edited = [key for key in now if now[key] != then.get(key)]
    if edited:
        key = edited[0]
        raise UserError(
            f"{run.config_file} was edited since the run was made ({key}: {then.get(key)} -> {now[key]});"
            " start a new run"
        )
    if checkpoint is None and run.best_checkpoint.exists():
        raise UserError(f"{run.last_checkpoint} is gone, and the run cannot go on without it; start a new run")


def _flat(config: Config) -> dict[str, Any]:
    """{"model.name": "resnet20", ..., "seed": 0}."""
    flat = {}
    for name, value in config.items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat
