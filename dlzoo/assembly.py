"""The composition root: a frozen config becomes objects, and these a run. The only file that knows everything."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlzoo import config as configs
from dlzoo.build import build_model, load_weights, transfer
from dlzoo.data.feed import EvalFeed, Normalise, TrainFeed
from dlzoo.data.image_set import channel_statistics
from dlzoo.data.splits import Splits
from dlzoo.errors import Interrupted, UserError, first_line
from dlzoo.metrics import pictures
from dlzoo.metrics.classification import confusion_matrix
from dlzoo.optim.settings import OptimizerSettings, Span, Warmup
from dlzoo.registry import AUGMENTS, LOSSES, OPTIMIZERS, SCHEDULES
from dlzoo.runs import environment, summary
from dlzoo.runs.metric_log import MetricLog, read_metrics
from dlzoo.runs.run_dir import RunDir, fresh_path
from dlzoo.settings import TrainerSettings
from dlzoo.streams import Streams
from dlzoo.tasks.checkpoints import Checkpoints, WholeFiles
from dlzoo.tasks.classify import Classify
from dlzoo.tasks.display import Display
from dlzoo.tasks.plan import Plan
from dlzoo.tasks.signals import stop_on_signals
from dlzoo.tasks.task import Record, Task

Config = dict[str, Any]

#: An evaluated split is worked through in batches of this many.
_EVAL_BATCH = 512


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
    config = configs.compose(overrides)
    label = config["name"] or f"{config['model']['name']}_{config['norm']['name']}_{config['data']['name']}"
    path = Path(config["run_dir"]).expanduser() if config["run_dir"] else fresh_path(label)
    return execute(RunDir.create(path, config), Console(quiet=quiet))


def execute(run: RunDir, console: Console | None = None) -> Run:
    """Carry out a run, from its last checkpoint if it has one. A finished run is left as it is.

    Raises:
        UserError, Interrupted: as `train`.
    """
    console = console or Console()
    config = configs.read(run.config_file)
    before = run.read()
    if before["state"] == "finished":
        console.print(f"{run.path} is finished: nothing to do", soft_wrap=True)
        return Run(run.path, before["metrics"])
    with run.lock():
        try:
            run.update(
                state="running", error=None, versions=environment.versions(), git_commit=environment.git_commit()
            )
            return Run(run.path, _carry_out(run, config, before, console))
        except BaseException as error:
            stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
            text = str(error) if isinstance(error, UserError) else traceback.format_exc()
            with suppress(OSError):  # on a full disk the error itself matters more than its record
                run.update(state="interrupted" if stopped else "failed", error=None if stopped else text)
            if stopped:
                raise Interrupted(f"{str(error) or 'stopped'}; go on with: dlzoo run {run.path}") from None
            if isinstance(error, OSError):  # of a folder that cannot be written, or a disk that is full
                raise UserError(f"{run.path}: {error}") from error
            raise


def _carry_out(run: RunDir, config: Config, before: dict[str, Any], console: Console) -> dict[str, float]:
    """Train, test and write down; the metrics."""
    started = perf_counter()
    checkpoint = run.last_checkpoint if run.last_checkpoint.exists() else None
    log = MetricLog(run, _load(checkpoint)["task"]["clock"] if checkpoint else 0)
    try:
        made = Assembled(config, log.scalars)
        if checkpoint:
            made.load(checkpoint)
        if checkpoint and before.get("data_fingerprint") != made.data.fingerprint:
            raise UserError(f"{run.path}: the data is not what the run began with; start a new run")
        run.update(**made.facts())
        summary.before(console, run.path, run.read())
        made.fit(checkpoint, [Display(console), Checkpoints(run.last_checkpoint, run.best_checkpoint)])
        clock, plan = made.task.clock, made.task.plan
        selected = made.select(run)
        metrics = made.test()
        log.scalars(clock, clock / plan.steps_per_epoch, metrics)
        _draw(log, made)
        flat = {
            f"{name}.{key}": value
            for name, section in config.items()
            if isinstance(section, dict)
            for key, value in section.items()
        }
        log.hyperparameters(flat | {"seed": config["seed"]}, metrics)
        metrics = {name: value for name, value in selected["latest"].items() if name.startswith("val/")} | metrics
        run.update(
            state="finished",
            metrics=metrics,
            selected_epoch=selected["clock"] / plan.steps_per_epoch,
            steps=clock,
            images_per_second=clock * made.data.batch_size / max(made.task.train_seconds, 1e-9),
            wall_seconds=before.get("wall_seconds", 0.0) + perf_counter() - started,
            peak_memory_bytes=environment.peak_memory(made.accelerator),
        )
        summary.after(console, run.path, run.read())
        return metrics
    finally:
        run.update(wall_seconds=before.get("wall_seconds", 0.0) + perf_counter() - started)
        log.close()


def _draw(log: MetricLog, made: Assembled) -> None:
    """The pictures of a run that was just tested."""
    logits, labels = made.task.gathered()
    clock, classes = made.task.clock, made.data.classes
    log.picture("curves", pictures.curves(read_metrics(log.run.metrics_file), log.run.path.name), clock)
    log.picture("confusion", pictures.confusion(confusion_matrix(logits, labels), classes), clock)
    log.picture("mistakes", pictures.worst_mistakes(made.data.test.images, logits, labels, classes), clock)


class Assembled:
    """The objects that a config describes: data, task and Lightning's trainer.

    Args:
        config: a frozen config.
        record: takes every logged scalar.

    Raises:
        UserError: if they do not fit together.
    """

    def __init__(self, config: Config, record: Record = lambda step, epoch, values: None) -> None:
        self.config = config
        self.settings = TrainerSettings(**config["trainer"])
        self.accelerator, self.precision = _hardware(self.settings)
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.data = Splits.load(config["data"])
        if self.data.batch_size % self.settings.accumulate:
            raise UserError(
                f"data.batch_size={self.data.batch_size} does not divide into trainer.accumulate="
                f"{self.settings.accumulate} equal parts"
            )
        if self.settings.early_stopping and self.data.val is None:
            raise UserError("trainer.early_stopping needs a validation split: data.val_fraction > 0")
        self.wiring = {
            "num_classes": len(self.data.classes),
            "in_channels": self.data.in_channels,
            "image_size": self.data.image_size,
        }
        self.params, self.macs = inspect(config, self.wiring, self.data.batch_size // self.settings.accumulate)
        optimizer, self._optimizer_name, self._optimizer_knobs = _split_section(config["optimizer"], OptimizerSettings)
        self._optimizer_settings = optimizer
        self.effective_lr = optimizer.effective_lr(config["optimizer"]["lr"], self.data.batch_size)
        self.task = self._task(record)

    def _task(self, record: Record) -> Task:
        config, settings, data = self.config, self.settings, self.data
        streams = Streams(config["seed"])
        with streams.scope("init"):
            network = network_of(config, self.wiring)
        if config["init_from"]:
            origin = Path(config["init_from"]).expanduser()
            transfer(load_weights(weights_file(origin)), network, f"init_from={origin}", new_head=True)
        frozen = _freeze(network) if config["freeze"] == "backbone" else []
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        normalise = Normalise(*channel_statistics(data.train.images))
        augment_knobs = dict(config["augment"])
        augment = AUGMENTS.build(augment_knobs.pop("name"), **augment_knobs)
        train = TrainFeed(data.train, normalise, augment, streams, data.batch_size, settings.accumulate)
        steps = min(train.steps_per_epoch, settings.limit_batches or train.steps_per_epoch)
        plan = Plan(settings.max_epochs, steps, settings.log_every, settings.checkpoint_every)
        return Classify(
            network,
            loss_fn=_loss(config, len(data.classes)),
            normalise=normalise,
            make_optimizer=self._make_optimizer,
            lr_factor=_lr_factor(config, plan),
            plan=plan,
            train=train,
            val=EvalFeed(data.val, normalise, _EVAL_BATCH) if data.val is not None else None,
            test=EvalFeed(data.test, normalise, _EVAL_BATCH),
            reseed=lambda device, step: streams.reseed(device, "dropout", step),
            record=record,
            clip_norm=settings.clip_norm,
            ema=settings.ema,
            patience=settings.early_stopping,
            frozen=frozen,
        )

    def _make_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        knobs = self._optimizer_knobs | {"lr": self.effective_lr}
        return OPTIMIZERS.build(self._optimizer_name, **knobs)(self._optimizer_settings.groups(network))

    def facts(self) -> dict[str, Any]:
        """What run.json says before the first step."""
        return self.data.facts() | {
            "seed": self.config["seed"],
            "params": self.params,
            "macs": self.macs,
            "batch_size": self.data.batch_size,
            "steps_per_epoch": self.task.plan.steps_per_epoch,
            "effective_lr": self.effective_lr,
            "device": environment.device_name(self.accelerator),
            "precision": self.precision,
        }

    def fit(self, checkpoint: Path | None, callbacks: list[pl.Callback]) -> None:
        """Train to the end, from `checkpoint` if there is one."""
        settings = self.settings
        val = self.task.eval_batches("val", settings.limit_batches) if self.data.val is not None else None
        trainer = self._lightning(callbacks)
        with stop_on_signals(self.task):
            trainer.fit(self.task, self.task.train_batches(), val, ckpt_path=checkpoint, weights_only=True)

    def select(self, run: RunDir) -> dict[str, Any]:
        """Load the weights that are to be tested; what the task knew when they were saved."""
        best = self.settings.select == "best" and run.best_checkpoint.exists()  # none without validation
        return self.load(run.best_checkpoint if best else run.last_checkpoint)

    def load(self, checkpoint: Path) -> dict[str, Any]:
        """Load the weights of a checkpoint; what the task knew when they were saved.

        Raises:
            UserError: if it is damaged, or of another model.
        """
        state = _load(checkpoint)
        transfer(state["state_dict"], self.task, str(checkpoint), new_head=False)
        return state["task"]

    def test(self) -> dict[str, float]:
        """The metrics of the test split: {"test/accuracy": ...}."""
        trainer = self._lightning([])
        trainer.test(self.task, self.task.eval_batches("test", self.settings.limit_batches), verbose=False)
        return {f"test/{name}": value.item() for name, value in self.task.metrics(*self.task.gathered()).items()}

    def _lightning(self, callbacks: list[pl.Callback]) -> pl.Trainer:
        """Lightning, with what dlzoo does itself turned off."""
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning 2.6 with torch 2.15
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=1,
            precision=self.precision,
            max_epochs=self.settings.max_epochs,
            callbacks=callbacks,
            plugins=[WholeFiles()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


def network_of(config: Config, wiring: dict[str, int]) -> nn.Module:
    """The network that a config describes, for so many classes, channels and pixels."""
    knobs = dict(config["model"])
    chosen = {
        kind: "default" if config[kind]["name"] == "default" else config[kind] for kind in ("norm", "act", "init")
    }
    return build_model(knobs.pop("name"), **wiring, **chosen, **knobs)


def inspect(config: Config, wiring: dict[str, int], batch_size: int) -> tuple[int, int]:
    """(parameters, multiply-accumulates of one image), from a forward pass of a training step on the meta device.

    Raises:
        UserError: if the network cannot work on such images or on such a batch.
    """
    with torch.device("meta"):
        network = network_of(config, wiring).train()
        images = torch.empty(batch_size, wiring["in_channels"], wiring["image_size"], wiring["image_size"])
        counter = FlopCounterMode(display=False)
        try:
            with counter, torch.no_grad():
                network(images)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"model={config['model']['name']} norm={config['norm']['name']} cannot train on {batch_size} image(s)"
                f" of {wiring['image_size']} px at a time ({first_line(error)}); {_size_advice(error)}"
            ) from error
    # torch counts two floating-point operations for a multiply-accumulate.
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2 // batch_size


def _size_advice(error: Exception) -> str:
    if "more than 1 value per channel" in str(error):
        return "choose a larger data.batch_size, or norm=gn"
    if "more than 1 spatial element" in str(error):
        return "choose larger images, or norm=gn or ln"
    return "choose larger images, or another model"


def _split_section(section: Config, settings: type[Any]) -> tuple[Any, str, dict[str, Any]]:
    """(the settings common to a choice, the entry's name, the entry's knobs)."""
    knobs = dict(section)
    name = knobs.pop("name")
    return settings(**{field.name: knobs.pop(field.name) for field in fields(settings)}), name, knobs


def _lr_factor(config: Config, plan: Plan) -> Callable[[int], float]:
    warmup, name, knobs = _split_section(config["schedule"], Warmup)
    span = Span(plan.steps, plan.steps_per_epoch)
    return warmup.before(SCHEDULES.build(name, wiring={"span": span}, **knobs), span)


def _loss(config: Config, num_classes: int) -> nn.Module:
    """The loss, after it was tried on two samples.

    Raises:
        UserError: if it cannot work with so many classes.
    """
    knobs = dict(config["loss"])
    loss = LOSSES.build(knobs.pop("name"), **knobs)
    try:
        loss(torch.zeros(2, num_classes), torch.tensor([0, num_classes - 1]))
    except (ValueError, RuntimeError) as error:
        settings = ", ".join(f"{name}={value}" for name, value in knobs.items() if value is not None)
        raise UserError(
            f"loss={config['loss']['name']} ({settings}) does not work for {num_classes} classes: {first_line(error)}"
        ) from error
    return loss


def _freeze(network: nn.Module) -> list[nn.Module]:
    """Freeze everything but the head; the frozen children."""
    frozen = [child for name, child in network.named_children() if name != "head"]
    if not frozen:
        raise UserError("freeze=backbone: the model is all head, nothing would be frozen")
    for child in frozen:
        child.requires_grad_(False)
    return frozen


def weights_file(origin: Path) -> Path:
    """The file of weights that a run directory or a path means.

    Raises:
        UserError: if there is none.
    """
    if not origin.is_dir():
        return origin
    run = RunDir.open(origin)
    for path in (run.best_checkpoint, run.last_checkpoint):
        if path.exists():
            return path
    raise UserError(f"{origin}: the run has no checkpoint")


def _load(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint of ours.

    Raises:
        UserError: if it is damaged.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        content["task"]["clock"]
    except Exception as error:
        raise UserError(f"{checkpoint}: not a whole checkpoint ({first_line(error)})") from error
    return content


def _hardware(settings: TrainerSettings) -> tuple[str, Any]:
    """(accelerator, precision) in Lightning's words."""
    there = torch.cuda.is_available()
    if settings.accelerator == "gpu" and not there:
        raise UserError("trainer=gpu: torch sees no GPU here; say trainer=auto or trainer=cpu")
    if there and settings.accelerator != "cpu":
        half = settings.precision != "fp32" and torch.cuda.is_bf16_supported()
        return "gpu", "bf16-mixed" if half else "32-true"
    if settings.precision == "bf16" and "AVX512" not in torch.backends.cpu.get_cpu_capability():
        warnings.warn("this CPU computes bf16 ten times slower than fp32: using fp32", stacklevel=2)
        return "cpu", "32-true"
    return "cpu", "bf16-mixed" if settings.precision == "bf16" else "32-true"
