"""The composition root: a frozen config becomes objects. The only file that knows everything."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from dlzoo.boxes.objects import sides
from dlzoo.builder.compatibility import full_precision, kind_of_loss, remarks
from dlzoo.builder.profile import network_of
from dlzoo.builder.recipe import Blueprint
from dlzoo.builder.weights import below, load_backbone, load_checkpoint, load_weights, transfer
from dlzoo.config.device import hardware
from dlzoo.core import distributed
from dlzoo.core.errors import UserError
from dlzoo.core.rng import Streams
from dlzoo.data.loader import EvalFeed, Normalise, TrainFeed
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.corruptions import shifted
from dlzoo.data.transforms.test_time import COUNTS, views
from dlzoo.engine.adversarial import SelfAdversarial
from dlzoo.engine.callbacks import observed_by
from dlzoo.engine.checkpoints import WholeFiles
from dlzoo.engine.task_module import Record, Task
from dlzoo.layers.head import of_head
from dlzoo.optim.settings import units
from dlzoo.runs import environment
from dlzoo.runs.run_dir import RunDir
from dlzoo.tasks.classification.module import Classify
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.module import Detect
from dlzoo.tasks.regression.module import Regress, Standardise

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
        self.rank, self._observed = distributed.here(), observed_by(self._callbacks)
        self.data = data or Splits.load(config["data"])
        longest = 1 if self._observed == "steps" else None
        self.blueprint = Blueprint(config, self.data, self.rank.world, longest)
        self.settings, wiring = self.blueprint.settings, self.blueprint.wiring
        whole = full_precision(config)
        self.accelerator, self.precision = hardware(
            replace(self.settings, precision="fp32") if whole else self.settings
        )
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.streams = Streams(config["seed"])
        if self.data.task == "detect":
            wiring = wiring | {"sizes": sides(self.data.train.labels)}
        with self.streams.scope("init"):
            self.network = network_of(config, wiring)
        # Weights from elsewhere saw images in their own way.
        known = getattr(self.network, "normalisation", None)
        statistics = map(torch.tensor, known) if known else self.data.statistics()
        self.normalise = Normalise(*statistics)
        self.taken = self._take_weights(config["init_from"]) if config["init_from"] else None
        self.task = self._task()

    def _take_weights(self, init_from: str) -> str:
        """Start from other weights, and from how their network saw images; in words, what was taken."""
        origin = Path(os.path.expanduser(init_from))
        state, normalisation = load_weights(origin)
        if isinstance(self.network, Detector) and not any(key.startswith("backbone.") for key in state):
            load_backbone(state, self.network.backbone, f"init_from={origin}")
            taken = f"{origin}, for the backbone"
        else:
            known = RunDir.open(origin).read().get("classes") if origin.is_dir() else None
            own = {key: value.shape for key, value in self.network.state_dict().items() if of_head(key)}
            heads = [key for key in own if not key.startswith("aux")]  # an auxiliary head may be left out
            other_head = any(key not in state or state[key].shape != own[key] for key in heads)
            new_head = other_head if known is None else known != list(self.data.classes)
            self._keep_anchors(state, f"init_from={origin}", new_head=new_head)
            transfer(state, self.network, f"init_from={origin}", new_head=new_head)
            taken = f"{origin}, {'with a new head' if new_head else 'head included'}"
        if normalisation:
            transfer(normalisation, self.normalise, f"init_from={origin}")
        return taken

    def _keep_anchors(self, state: dict[str, Tensor], where: str, *, new_head: bool) -> None:
        """Anchors are what was asked for, and not what the weights were learnt with.

        Raises:
            UserError: if the head is taken that was.
        """
        own, theirs = dict(self.network.named_buffers()).get("anchors"), state.get("anchors")
        if own is None or theirs is None or own.shape != theirs.shape:
            return
        if not new_head and not torch.allclose(own, theirs, rtol=1e-4):
            raise UserError(f"{where}: its head was trained with other anchors: {theirs.flatten().tolist()}")
        state["anchors"] = own

    def _task(self) -> Task:
        config, settings, data = self.config, self.settings, self.data
        frozen = _freeze(self.network, config["freeze"])
        # The memory order of the batches that the feeds make.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        blueprint, normalise, limit = self.blueprint, self.normalise, settings.limit_batches
        where: dict[str, Any] = {"rank": self.rank, "cache": data.settings.cache}
        # Without gradients there is room for more than a training batch; large images stay few at a time.
        eval_batch = max(blueprint.micro_batch, min(512, 2_000_000 // data.image_size**2))
        eval_batch = max(1, eval_batch // COUNTS[blueprint.augmentation.test])
        seen: dict[str, Any] = where | {"views": views(blueprint.augmentation.test, blueprint.augment)}
        shift = shifted(data.settings.test_shift, data.settings.test_severity)
        own: dict[str, Any] = {}
        if data.task == "classify":
            kind = Classify
        elif data.task == "detect":
            kind = Detect
            own = {"suppress": blueprint.suppress, "num_classes": len(data.classes), "fit": data.fit}
        else:
            boxes = kind_of_loss(config, data) == "boxes"
            kind, own = Regress, {"standardise": Standardise(data.train.labels, as_they_are=boxes)}
        return kind(
            self.network,  # pyright: ignore[reportArgumentType]
            **own,
            loss_fn=blueprint.loss,  # pyright: ignore[reportArgumentType]
            normalise=normalise,
            make_optimizer=blueprint.optimizer_of,
            asks_again=blueprint.asks_again,
            regulariser=blueprint.regulariser,
            lr_factor=blueprint.lr_factor,
            plan=blueprint.plan,
            train=TrainFeed(
                *(data.train, normalise, blueprint.augment, self.streams, data.batch_size, settings.accumulate, limit),
                sampler=data.settings.sampler,
                mixer=blueprint.mixer,
                box_mixer=blueprint.box_mixer,
                **where,
            ),
            val=EvalFeed(data.val, normalise, eval_batch, limit, **seen) if data.val is not None else None,
            test=EvalFeed(data.test, normalise, eval_batch, limit, shift=shift, **seen),
            # Dropout draws for the samples of a rank: each has a stream of its own.
            reseed=self.streams.reseeder("dropout", self.rank.index),
            record=self._record,
            clip_norm=settings.clip_norm if blueprint.clips else None,
            attack=SelfAdversarial(settings.self_adversarial, normalise) if settings.self_adversarial else None,
            ema=settings.ema,
            patience=settings.early_stopping,
            frozen=frozen,
            rank=self.rank,
            compiled=settings.compile,
            observed=self._observed,
        )

    def facts(self) -> dict[str, Any]:
        """What run.json says before the first step."""
        return self.data.facts() | {
            "seed": self.config["seed"],
            "monitor": self.task.monitor,
            "params": self.blueprint.params,
            "trainable": sum(p.numel() for p in self.network.parameters() if p.requires_grad),
            "macs": self.blueprint.macs,
            **({"exclusive": self.blueprint.wiring["exclusive"]} if self.data.task == "detect" else {}),
            "batch_size": self.data.batch_size,
            "steps_per_epoch": self.blueprint.plan.steps_per_epoch,
            "effective_lr": self.blueprint.effective_lr,
            "init_from": self.taken,
            "remarks": [*getattr(self.network, "remarks", []), *remarks(self.config)],
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

    def zero_weights(self) -> int:
        """How many weights of the network that counts are exactly 0; biases and scales of norms are not looked at."""
        weights = (parameter for parameter in self.task.evaluated.parameters() if parameter.dim() >= 2)
        return sum(int((weight == 0).sum()) for weight in weights)

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


def _freeze(network: nn.Module, what: str | int) -> list[nn.Module]:
    """Freeze everything but the head, or so many layers from the first one; the frozen modules.

    Raises:
        UserError: if nothing would be frozen, or nothing would learn.
    """
    if what == "none":
        return []
    if isinstance(what, int):
        layers = units(network)
        if what >= len(layers):
            raise UserError(f"freeze={what} leaves nothing to learn: the model has {len(layers)} layer(s)")
        frozen = layers[:what]
    elif isinstance(network, Detector):
        frozen: list[nn.Module] = [network.backbone.network]  # what was added to it was never trained
    else:
        frozen = [child for name, child in network.named_children() if name != "head"]
    if not frozen:
        raise UserError("freeze=backbone: the model is all head, nothing would be frozen")
    for child in frozen:
        child.requires_grad_(False)
    return frozen
