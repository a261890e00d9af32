"""The composition root: build the objects of a run from a finalised config."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.strategies import DDPStrategy
from torch import nn

from dlzoo.builder.compatibility import allows_loss_scale, load_data, needs_full_precision
from dlzoo.builder.freeze import freeze_modules
from dlzoo.builder.model import network_from_config
from dlzoo.builder.notes import memory_notes, notes
from dlzoo.builder.recipe import RunRecipe
from dlzoo.builder.weights import check_training_state, child_state, load_checkpoint, load_initial_weights, transfer
from dlzoo.config import Config
from dlzoo.config.device import accelerator_and_precision
from dlzoo.core import distributed
from dlzoo.core.protocols import normalisation_of, notes_of
from dlzoo.core.rng import Streams
from dlzoo.data.loader import EvalLoader, Loaders, TrainLoader
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.batch import Normalise
from dlzoo.data.transforms.corruptions import make_shift
from dlzoo.data.transforms.test_time import COUNTS
from dlzoo.engine.callbacks import observed_by
from dlzoo.engine.checkpoints import AtomicCheckpointIO
from dlzoo.engine.loss_scale import LossScale
from dlzoo.engine.recipe import Context, Observed, Recorder
from dlzoo.engine.task_module import TaskModule
from dlzoo.models.recompute import recompute_stages
from dlzoo.runs import environment
from dlzoo.tasks.base import Pieces


class Assembled:
    """The objects that a config describes: data, network and task module, and Lightning trainers for them.

    Args:
        config: a finalised config.
        record: (step, epoch, values) -> None; receives every logged scalar.
        data: used instead of the data that the config names.
        callbacks: a user's own Lightning callbacks, for the training.

    Raises:
        UserError: if the settings are incompatible.
    """

    def __init__(
        self,
        config: Config,
        record: Recorder = lambda step, epoch, values: None,
        data: Splits | None = None,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:
        self.config, self._record, self._callbacks = config, record, list(callbacks)
        self.rank = distributed.current_rank()
        self._observed: Observed | None = observed_by(self._callbacks)
        self.data = data or load_data(config)
        longest = 1 if self._observed == "steps" else None
        self.run_recipe = RunRecipe(config, self.data, self.rank.world_size, longest)
        self.settings, self.spec = self.run_recipe.settings, self.run_recipe.spec
        full = needs_full_precision(config)
        self.accelerator, self.precision = accelerator_and_precision(
            replace(self.settings, precision="fp32") if full else self.settings, fp16=allows_loss_scale(config)
        )
        self._autocast_device = "cuda" if self.accelerator == "gpu" else "cpu"
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        self.streams = Streams(config["seed"])
        with self.streams.scope("init"):
            self.network = network_from_config(config, self.run_recipe.wiring | self.spec.learnt_arguments(self.data))
        # Pretrained weights expect their own normalisation of the images.
        known = None if self.data.is_float else normalisation_of(self.network)
        self.normalise = Normalise(*(map(torch.tensor, known) if known else self.data.statistics()))
        self.weights_origin = None
        if config["init_from"]:
            # Float images are used as they are.
            normalise = deepcopy(self.normalise) if self.data.is_float else self.normalise
            self.weights_origin = load_initial_weights(config, self.network, normalise, self.spec, self.data.classes)
        # The memory format of the loaders' batches.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.module = self._make_module()

    def _make_module(self) -> TaskModule:
        recipe = self.run_recipe
        frozen = freeze_modules(self.network, self.config["freeze"], self.spec)
        # Each rank draws its own dropout masks, from its own stream.
        reseed = self.streams.reseeder("dropout", self.rank.rank)
        context = Context(reseed, self._record, self.rank, self._observed)
        loss_scale = LossScale(self._autocast_device) if self.precision == "16-mixed" else None
        pieces = Pieces(self.network, recipe.loss, self._loaders(), recipe.training(frozen, loss_scale), context)
        return self.spec.module(pieces, self.config, self.data)

    def _loaders(self) -> Loaders:
        recipe, data, limit = self.run_recipe, self.data, self.settings.limit_batches
        settings, augment = recipe.augment_settings, recipe.augment
        eval_batch = max(1, data.eval_batch(recipe.micro_batch) // COUNTS[settings.test])
        where: dict[str, Any] = {"rank": self.rank, "cache": data.settings.cache}
        seen: dict[str, Any] = where | {"views": self.spec.views(settings, augment)}
        shift = make_shift(data.settings.test_shift, data.settings.test_severity)
        train = TrainLoader(
            data.train,
            self.spec.transform(settings, augment, self.normalise, data),
            self.streams,
            data.batch_size,
            self.settings.accumulate,
            recipe.schedule.steps_per_epoch,
            sampler=data.settings.sampler,
            **where,
        )
        val = None if data.val is None else EvalLoader(data.val, self.normalise, eval_batch, limit, **seen)
        test = EvalLoader(data.test, self.normalise, eval_batch, limit, shift=shift, **seen)
        return Loaders(self.normalise, train, val, test)

    def facts(self) -> dict[str, Any]:
        """Return the fields of run.json that are known before the first step."""
        return self.data.facts() | {
            "seed": self.config["seed"],
            "monitor": self.module.monitor,
            "params": self.run_recipe.profile.params,
            "trainable": sum(p.numel() for p in self.network.parameters() if p.requires_grad),
            "macs": self.run_recipe.profile.macs,
            **self.spec.facts(self.run_recipe.wiring),
            "batch_size": self.data.batch_size,
            "steps_per_epoch": self.run_recipe.schedule.steps_per_epoch,
            "effective_lr": self.run_recipe.effective_lr,
            "init_from": self.weights_origin,
            "remarks": [*notes_of(self.network), *self._notes()],
            "device": environment.device_name(self.accelerator),
            "ranks": self.rank.world_size,
            "threads": torch.get_num_threads(),
            "precision": self.precision,
        }

    def _notes(self) -> list[str]:
        recipe = self.run_recipe
        sizes = recipe.micro_batch, self.data.batch_size, environment.memory(self.accelerator)
        return [
            *notes(self.config, self.data, self.spec, recipe.schedule, self.network),
            *memory_notes(recipe.profile, *sizes, checkpoint=self.settings.checkpoint_activations),
        ]

    def fit(
        self,
        checkpoint: Path | None,
        callbacks: Sequence[pl.Callback],
        written: Callable[[Path], None] = lambda path: None,
    ) -> None:
        """Train to the end, from `checkpoint` if there is one; `written` is called with each new checkpoint.

        Raises:
            UserError: if `checkpoint` is damaged, or of another model.
        """
        if checkpoint is not None:
            check_training_state(checkpoint, self.module, self.module.recipe.make_optimizer(self.module.network))
        files = AtomicCheckpointIO(written)
        trainer = self._make_trainer([*self._callbacks, *callbacks], files)
        loaders = self.module.train_batches(), self.module.eval_batches("val")
        recomputing = recompute_stages(self.network) if self.settings.checkpoint_activations else nullcontext()
        try:
            with recomputing:
                trainer.fit(self.module, *loaders, ckpt_path=checkpoint, weights_only=True)
        finally:
            self.module.loaders.close()
            files.close()

    def load(self, checkpoint: Path) -> dict[str, Any]:
        """Load the weights of a checkpoint and return the training state saved with them.

        Raises:
            UserError: if the checkpoint is damaged, or of another model.
        """
        state = load_checkpoint(checkpoint)
        children, weights = dict(self.module.named_children()), state["state_dict"]
        for name, child in children.items():
            transfer(child_state(weights, name), child, str(checkpoint))
        others = {key: value for key, value in weights.items() if key.partition(".")[0] not in children}
        transfer(others, nn.Module(), str(checkpoint))  # an error, if there are any
        return state["task"]

    def test(self, callbacks: Sequence[pl.Callback] = ()) -> dict[str, float]:
        """Evaluate the test split and return {"test/accuracy": ...}; `module.tested` then has the details."""
        try:
            self._make_trainer(callbacks).test(self.module, self.module.eval_batches("test"), verbose=False)
        finally:
            self.module.loaders.close()
        return self.module.test_metrics

    def zero_weights(self) -> int:
        """Return how many weights of the evaluated network are exactly 0, not counting biases and scales of norms."""
        weights = (parameter for parameter in self.module.eval_network.parameters() if parameter.dim() >= 2)
        return sum(int((weight == 0).sum()) for weight in weights)

    def _make_trainer(self, callbacks: Sequence[pl.Callback], *plugins: Any) -> pl.Trainer:
        """Return a Lightning trainer without the features that dlzoo provides itself."""
        for name in ("pytorch_lightning", "torch.utils.cpp_extension"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
        return pl.Trainer(
            accelerator=self.accelerator,
            **self._precision_arguments(*plugins),
            benchmark=True,
            max_epochs=self.run_recipe.schedule.epochs,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),  # a user's own
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )

    def _precision_arguments(self, *plugins: Any) -> dict[str, Any]:
        """Return the trainer arguments of precision and ranks; the loop scales the loss of fp16 itself."""
        if self.precision != "16-mixed":
            return {"precision": self.precision, **self._rank_arguments(*plugins)}
        without_scaler = torch.amp.GradScaler(self._autocast_device, enabled=False)
        half = MixedPrecision("16-mixed", self._autocast_device, without_scaler)
        return self._rank_arguments(*plugins, half)

    def _rank_arguments(self, *plugins: Any) -> dict[str, Any]:
        """Return the trainer arguments that describe the ranks, whose processes and process group exist already."""
        if self.rank.world_size == 1:
            # Named explicitly: inside a Slurm job Lightning would otherwise expect one process per Slurm task.
            return {"devices": 1, "plugins": [*plugins, LightningEnvironment()]}
        return {
            "devices": self.rank.local_world_size,
            "num_nodes": self.rank.world_size // self.rank.local_world_size,
            # Running statistics are synchronised before each validation, not before each range of steps.
            "strategy": DDPStrategy(broadcast_buffers=False),
            "plugins": [*plugins, TorchElasticEnvironment()],
        }
