"""The composition root: a frozen config becomes objects. The only file that knows everything."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from dlzoo import ranks
from dlzoo.data.feed import EvalFeed, Normalise, TrainFeed
from dlzoo.data.image_set import channel_statistics
from dlzoo.data.splits import Splits
from dlzoo.errors import UserError, first_line
from dlzoo.hardware import hardware
from dlzoo.optim.settings import Span
from dlzoo.registry import AUGMENTS, LOSSES, OPTIMIZERS, SCHEDULES
from dlzoo.runs import environment
from dlzoo.runs.run_dir import RunDir
from dlzoo.settings import TrainerSettings
from dlzoo.size import network_of, size
from dlzoo.streams import Streams
from dlzoo.tasks.callbacks import observed_by
from dlzoo.tasks.checkpoints import WholeFiles
from dlzoo.tasks.classify import Classify
from dlzoo.tasks.plan import Plan
from dlzoo.tasks.task import Record, Task
from dlzoo.weights import below, load_checkpoint, load_weights, transfer

Config = dict[str, Any]


class Assembled:
    """The objects that a config describes: data and a task, and Lightning's trainers for them.

    Args:
        config: a frozen config.
        record: takes every logged scalar.
        data: instead of what the config's data section names.
        callbacks: a user's own, for the training.

    Raises:
        UserError: if they do not fit together.
    """

    def __init__(
        self,
        config: Config,
        record: Record = lambda step, epoch, values: None,
        data: Splits | None = None,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:
        self.config, self._record, self._callbacks = config, record, list(callbacks)
        self.rank = ranks.here()
        self.settings = TrainerSettings(**config["trainer"])
        self.accelerator, self.precision = hardware(self.settings)
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.data = data or Splits.load(config["data"])
        self.micro_batch, rest = divmod(self.data.batch_size, self.settings.accumulate * self.rank.world)
        if rest:
            parts = f"trainer.accumulate={self.settings.accumulate} equal parts"
            if self.rank.world > 1:
                each = "" if self.settings.accumulate == 1 else f", each in {parts}"
                parts = f"{self.rank.world} equal parts, one a device{each}"
            raise UserError(f"data.batch_size={self.data.batch_size} does not divide into {parts}")
        if self.settings.early_stopping and self.data.val is None:
            raise UserError("trainer.early_stopping needs a validation split: data.val_fraction > 0")
        wiring = {
            "num_classes": len(self.data.classes),
            "in_channels": self.data.in_channels,
            "image_size": self.data.image_size,
        }
        self.params, self.macs = size(config, wiring, self.micro_batch)
        self.streams = Streams(config["seed"])
        with self.streams.scope("init"):
            self.network = network_of(config, wiring)
        self.normalise = Normalise(*channel_statistics(self.data.train.images))
        self.taken = self._take_weights(config["init_from"]) if config["init_from"] else None
        self.task = self._task()

    def _take_weights(self, init_from: str) -> str:
        """Start from other weights, and from how their network saw images; in words, what was taken."""
        origin = Path(init_from).expanduser()
        state, normalisation = load_weights(origin)
        known = RunDir.open(origin).read().get("classes") if origin.is_dir() else None
        head, own = state.get("head.weight"), self.network.get_parameter("head.weight")
        other_head = head is None or head.shape != own.shape
        new_head = other_head if known is None else known != list(self.data.classes)
        transfer(state, self.network, f"init_from={origin}", new_head=new_head)
        if normalisation:
            transfer(normalisation, self.normalise, f"init_from={origin}")
        return f"{origin}, {'with a new head' if new_head else 'head included'}"

    def _task(self) -> Task:
        config, settings, data = self.config, self.settings, self.data
        frozen = _freeze(self.network) if config["freeze"] == "backbone" else []
        # The memory order of the batches that the feeds make.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        _, augment = AUGMENTS.from_section(config["augment"])
        limit, normalise, where = settings.limit_batches, self.normalise, {"rank": self.rank, "cache": data.cache}
        train = TrainFeed(
            data.train, normalise, augment, self.streams, data.batch_size, settings.accumulate, limit, **where
        )
        observed = observed_by(self._callbacks)
        plan = Plan(
            *(settings.max_epochs, train.steps_per_epoch, settings.log_every, settings.checkpoint_every),
            longest=1 if observed == "steps" else None,
        )
        # Without gradients there is room for more than a training batch; large images stay few at a time.
        eval_batch = max(self.micro_batch, min(512, 2_000_000 // data.image_size**2))
        optimizer, _ = OPTIMIZERS.from_section(config["optimizer"])
        self.effective_lr = optimizer.effective_lr(config["optimizer"]["lr"], data.batch_size)
        section = config["optimizer"] | {"lr": self.effective_lr}
        _, make = OPTIMIZERS.from_section(section)
        return Classify(
            self.network,
            loss_fn=_loss(config["loss"], len(data.classes)),
            normalise=normalise,
            make_optimizer=lambda network: make(optimizer.groups(network)),
            lr_factor=_lr_factor(config["schedule"], plan),
            plan=plan,
            train=train,
            val=EvalFeed(data.val, normalise, eval_batch, limit, **where) if data.val is not None else None,
            test=EvalFeed(data.test, normalise, eval_batch, limit, **where),
            # Dropout draws for the samples of a rank: each has a stream of its own.
            reseed=self.streams.reseeder("dropout", self.rank.index),
            record=self._record,
            clip_norm=settings.clip_norm,
            ema=settings.ema,
            patience=settings.early_stopping,
            frozen=frozen,
            rank=self.rank,
            compiled=settings.compile,
            observed=observed,
        )

    def facts(self) -> dict[str, Any]:
        """What run.json says before the first step."""
        return self.data.facts() | {
            "seed": self.config["seed"],
            "params": self.params,
            "macs": self.macs,
            "batch_size": self.data.batch_size,
            "steps_per_epoch": self.task.plan.steps_per_epoch,
            "effective_lr": self.effective_lr,
            "init_from": self.taken,
            "device": environment.device_name(self.accelerator),
            "ranks": self.rank.world,
            "threads": torch.get_num_threads(),
            "precision": self.precision,
        }

    def fit(self, checkpoint: Path | None, callbacks: Sequence[pl.Callback]) -> None:
        """Train to the end, from `checkpoint` if there is one."""
        files = WholeFiles()
        trainer = self._lightning([*self._callbacks, *callbacks], files)
        loaders = self.task.train_batches(), self.task.eval_batches("val")
        try:
            trainer.fit(self.task, *loaders, ckpt_path=checkpoint, weights_only=True)
        finally:
            self.task.close_feeds()
            files.close()

    def load(self, checkpoint: Path) -> dict[str, Any]:
        """Load the weights of a checkpoint; what the task knew when they were saved.

        Raises:
            UserError: if it is damaged, or of another model.
        """
        state = load_checkpoint(checkpoint)
        for name, module in self.task.named_children():
            transfer(below(state["state_dict"], name), module, str(checkpoint))
        return state["task"]

    def test(self, callbacks: Sequence[pl.Callback] = ()) -> tuple[dict[str, float], tuple[Tensor, ...]]:
        """({"test/accuracy": ...}, what they were computed from) of the test split."""
        try:
            self._lightning(callbacks).test(self.task, self.task.eval_batches("test"), verbose=False)
        finally:
            self.task.close_feeds()
        return self.task.test_metrics, self.task.gathered

    def _lightning(self, callbacks: Sequence[pl.Callback], *plugins: Any) -> pl.Trainer:
        """Lightning, with what dlzoo does itself turned off."""
        for talkative in ("pytorch_lightning", "torch.utils.cpp_extension"):
            logging.getLogger(talkative).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
        return pl.Trainer(
            accelerator=self.accelerator,
            precision=self.precision,
            **self._processes(*plugins),
            benchmark=True,
            max_epochs=self.settings.max_epochs,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),  # a user's own
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )

    def _processes(self, *plugins: Any) -> dict[str, Any]:
        """What Lightning has to know of the ranks; they are started, and can talk to each other, already."""
        if self.rank.world == 1:
            # An environment that is named: inside a Slurm job Lightning would look for tasks that are not there.
            return {"devices": 1, "plugins": [*plugins, LightningEnvironment()]}
        return {
            "devices": self.rank.local_world,
            "num_nodes": self.rank.world // self.rank.local_world,
            # Running statistics are shared before each validation, not before each range of steps.
            "strategy": DDPStrategy(broadcast_buffers=False),
            "plugins": [*plugins, TorchElasticEnvironment()],
        }


def _lr_factor(section: Config, plan: Plan) -> Callable[[int], float]:
    span = Span(plan.steps, plan.steps_per_epoch)
    warmup, schedule = SCHEDULES.from_section(section, span=span)
    return warmup.before(schedule, span)


def _loss(section: Config, num_classes: int) -> nn.Module:
    """The loss, after it was tried on a sample of each class.

    Raises:
        UserError: if it cannot work with so many classes.
    """
    _, loss = LOSSES.from_section(section)
    settings = ", ".join(f"{name}={value}" for name, value in section.items() if value is not None)
    try:
        value = loss(torch.zeros(num_classes, num_classes), torch.arange(num_classes))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"loss: {settings} does not work for {num_classes} classes: {first_line(error)}") from error
    if not value.isfinite():
        raise UserError(f"loss: {settings} gives {value.item()} for one sample of each of {num_classes} classes")
    return loss


def _freeze(network: nn.Module) -> list[nn.Module]:
    """Freeze everything but the head; the frozen children."""
    frozen = [child for name, child in network.named_children() if name != "head"]
    if not frozen:
        raise UserError("freeze=backbone: the model is all head, nothing would be frozen")
    for child in frozen:
        child.requires_grad_(False)
    return frozen
