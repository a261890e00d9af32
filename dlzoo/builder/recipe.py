"""The parts of a run that need neither memory nor a device: sizes, schedule, loss, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlzoo.builder.compatibility import check_compatible
from dlzoo.builder.given import check_float_images
from dlzoo.builder.profile import profile_training
from dlzoo.config import Config
from dlzoo.config.settings import TrainerSettings
from dlzoo.core import index
from dlzoo.core.entries import Metric
from dlzoo.core.errors import UserError
from dlzoo.core.registries import AUGMENTS, OPTIMIZERS, SCHEDULES, TASKS
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import output_size
from dlzoo.data.transforms.batch import Normalise
from dlzoo.engine.clock import TrainSchedule
from dlzoo.engine.loss_scale import LossScale
from dlzoo.engine.recipe import Recipe
from dlzoo.models.recompute import families_with_stages
from dlzoo.optim.settings import Span
from dlzoo.tasks.base import TaskSpec


class RunRecipe:
    """The sizes, the schedule and every part of a run but its network, checked against each other.

    Args:
        config: a finalised config.
        data: the data that its data section names.
        world: number of processes that share a batch.
        longest: maximum number of steps in a range.

    Attributes:
        wiring: the arguments that are injected into the model; plain values.
        monitor: the metric of trainer.monitor; None for the task's own.
        params, macs: the network's parameters, and its multiply-accumulates for one image.

    Raises:
        UserError: if the settings are incompatible.
    """

    def __init__(self, config: Config, data: Splits, world: int = 1, longest: int | None = None) -> None:
        self.config, self.settings = config, TrainerSettings(**config["trainer"])
        self.micro_batch = _micro_batch(data.batch_size, self.settings.accumulate, world)
        check_compatible(config, data, world)
        check_float_images(config, data)
        self.spec: TaskSpec = TASKS.build(data.task)
        self.augment_settings, self.augment = AUGMENTS.from_section(config["augment"])
        self.monitor = _monitored(config, data, self.spec)
        self.loss = self.spec.loss(config, data)
        self.wiring: dict[str, Any] = {
            "num_classes": len(data.classes),
            "in_channels": data.in_channels,
            "image_size": output_size(self.augment, data.image_size),
            **self.spec.model_arguments(config, data),
        }
        nothing = torch.zeros(data.in_channels)
        # Called for its errors only: augmentation settings that the task does not support.
        self.spec.transform(self.augment_settings, self.augment, Normalise(nothing, nothing + 1), data)
        self.profile = profile_training(config, self.wiring, self.micro_batch)
        if self.settings.checkpoint_activations and self.profile.checkpointed is None:
            raise _no_stages(config)
        self.schedule = TrainSchedule(
            self.settings.max_epochs,
            min(len(data.train) // data.batch_size, self.settings.limit_batches or len(data.train)),
            self.settings.log_every,
            self.settings.checkpoint_every,
            longest,
            self.settings.max_steps,
            self.settings.validate_every_epochs,
            self.settings.validate_every_steps,
            self.settings.keep_every,
        )
        self.optimizer_settings, _ = OPTIMIZERS.from_section(config["optimizer"])
        self.effective_lr = self.optimizer_settings.effective_lr(config["optimizer"]["lr"], data.batch_size)
        _, self._make_optimizer = OPTIMIZERS.from_section(config["optimizer"] | {"lr": self.effective_lr})
        self.regulariser = self.optimizer_settings.regulariser(config["optimizer"]["name"])
        self.lr_factor = _lr_factor(config["schedule"], self.schedule)

    def optimizer_of(self, network: nn.Module) -> Optimizer:
        """Return the optimizer of a network's parameters, each group with its learning rate and weight decay."""
        return self._make_optimizer(self.optimizer_settings.groups(network, self.effective_lr))

    def training(self, frozen: list[nn.Module], loss_scale: LossScale | None = None) -> Recipe:
        """Return the recipe of the training, in which the modules `frozen` are not trained."""
        settings, marks = self.settings, index.marks("optimizer", self.config["optimizer"]["name"])
        return Recipe(
            schedule=self.schedule,
            make_optimizer=self.optimizer_of,
            lr_factor=self.lr_factor,
            uses_closure=marks.uses_closure,
            regulariser=self.regulariser,
            clip_norm=settings.clip_norm if marks.clips else None,
            self_adversarial=settings.self_adversarial,
            ema=settings.ema,
            monitor=self.monitor,
            keep_best=settings.keep_best,
            patience=settings.early_stopping,
            frozen=tuple(frozen),
            compiled=settings.compile,
            loss_scale=loss_scale,
        )


def _micro_batch(batch_size: int, accumulate: int, world: int) -> int:
    """Return the number of samples per forward pass."""
    micro_batch, rest = divmod(batch_size, accumulate * world)
    if rest:
        parts = f"trainer.accumulate={accumulate} equal parts"
        if world > 1:
            suffix = "" if accumulate == 1 else f", each in {parts}"
            parts = f"{world} equal parts, one per device{suffix}"
        raise UserError(f"data.batch_size={batch_size} does not divide into {parts}")
    return micro_batch


def _no_stages(config: Config) -> UserError:
    kind = "model" if config["backbone"]["name"] == "default" else "backbone"
    return UserError(
        f"trainer.checkpoint_activations=true needs a network with stages, and {kind}={config[kind]['name']} has none;"
        f" choose a {kind} of {', '.join(families_with_stages())}"
    )


def _monitored(config: Config, data: Splits, spec: TaskSpec) -> Metric | None:
    """Return the metric that trainer.monitor names; f1 is enough for f1_macro, if no other begins with f1_.

    Raises:
        UserError: if it is not measured in the validation of this data.
    """
    typed, marks = config["trainer"]["monitor"], index.marks("task", data.task)
    if typed is None:
        return None
    undefined, name = spec.undefined_metrics(data), typed.removeprefix("val/")
    known = {metric.name: metric for metric in marks.metrics if metric.name not in undefined}
    candidates = [name] if name in known else [each for each in known if each.startswith(f"{name}_")]
    if len(candidates) != 1:
        raise UserError(
            f"trainer.monitor={typed} is not a metric of the validation of data={config['data']['name']}, which has"
            f" {marks.targets_are}; choose {' or '.join(known)}"
        )
    return known[candidates[0]]


def _lr_factor(section: Config, schedule: TrainSchedule) -> Callable[[int], float]:
    span = Span(schedule.steps, schedule.steps_per_epoch)
    warmup, factor = SCHEDULES.from_section(section, span=span)
    return warmup.before(factor, span)
