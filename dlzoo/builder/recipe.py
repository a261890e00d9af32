"""What a config comes to before anything is built that needs memory or a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dlzoo.builder.compatibility import mixes_labels, refuse_odd_ones
from dlzoo.builder.profile import size
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registry import AUGMENTS, BOX_LOSSES, LOSSES, MODELS, NMS, OPTIMIZERS, SCHEDULES
from dlzoo.data.splits import Splits
from dlzoo.data.transforms.augment import size_after
from dlzoo.engine.clock import Plan
from dlzoo.optim.settings import Span
from dlzoo.tasks.detection.losses import DetectionLoss, is_independent
from dlzoo.tasks.detection.postprocess import detections

Config = dict[str, Any]


class Blueprint:
    """The data, the sizes, the clock, and every part but the network: they fit together, or it says why not.

    Args:
        config: a frozen config.
        data: what its data section names.
        world: processes that share a batch.
        longest: steps that one range may have.

    Raises:
        UserError: if something does not fit.
    """

    def __init__(self, config: Config, data: Splits, world: int = 1, longest: int | None = None) -> None:
        self.settings = TrainerSettings(**config["trainer"])
        self.micro_batch = _micro_batch(data.batch_size, self.settings.accumulate, world)
        refuse_odd_ones(config, data, world)
        self.augmentation, self.augment = AUGMENTS.from_section(config["augment"])
        self.wiring: dict[str, Any] = {
            "num_classes": len(data.classes),
            "in_channels": data.in_channels,
            "image_size": size_after(self.augment, data.image_size),
        }
        if data.task == "detect":
            self.loss, exclusive = _detection_loss(config, len(data.classes))
            self.wiring["exclusive"] = exclusive
            settings, suppress = NMS.from_section(config["nms"])
            self.suppress = partial(detections, suppress=suppress, settings=settings)
        else:
            self.loss = _loss(config["loss"], len(data.classes), data.task, soft=mixes_labels(config))
        self.params, self.macs = size(config, self.wiring, self.micro_batch)
        self.plan = Plan(
            self.settings.max_epochs,
            min(len(data.train) // data.batch_size, self.settings.limit_batches or len(data.train)),
            self.settings.log_every,
            self.settings.checkpoint_every,
            longest,
        )
        self.optimizer, _ = OPTIMIZERS.from_section(config["optimizer"])
        self.effective_lr = self.optimizer.effective_lr(config["optimizer"]["lr"], data.batch_size)
        _, self._make_optimizer = OPTIMIZERS.from_section(config["optimizer"] | {"lr": self.effective_lr})
        asked = OPTIMIZERS[config["optimizer"]["name"]].meta
        self.regulariser = self.optimizer.regulariser(config["optimizer"]["name"])
        self.asks_again, self.clips = asked.get("closure", False), asked.get("clip", True)
        detects = data.task == "detect"
        self.mixer = None if detects else self.augmentation.mixer(len(data.classes))
        self.box_mixer = self.augmentation.box_mixer() if detects else None
        self.lr_factor = _lr_factor(config["schedule"], self.plan)

    def optimizer_of(self, network: nn.Module) -> Optimizer:
        """The optimizer of a network's parameters, each group with its own rate and weight decay."""
        return self._make_optimizer(self.optimizer.groups(network, self.effective_lr))


def _micro_batch(batch_size: int, accumulate: int, world: int) -> int:
    """The samples that a network sees at once."""
    micro_batch, rest = divmod(batch_size, accumulate * world)
    if rest:
        parts = f"trainer.accumulate={accumulate} equal parts"
        if world > 1:
            each = "" if accumulate == 1 else f", each in {parts}"
            parts = f"{world} equal parts, one a device{each}"
        raise UserError(f"data.batch_size={batch_size} does not divide into {parts}")
    return micro_batch


def _lr_factor(section: Config, plan: Plan) -> Callable[[int], float]:
    span = Span(plan.steps, plan.steps_per_epoch)
    warmup, schedule = SCHEDULES.from_section(section, span=span)
    return warmup.before(schedule, span)


def _detection_loss(config: Config, num_classes: int) -> tuple[DetectionLoss, bool]:
    """The losses of a detector, and whether an object has one class only.

    Raises:
        UserError: for weights of another number of classes.
    """
    _, classes = LOSSES.from_section(config["loss"])
    settings, boxes = BOX_LOSSES.from_section(config["box_loss"])
    on_offsets = "offsets" in BOX_LOSSES[config["box_loss"]["name"]].meta["kinds"]
    loss = DetectionLoss(boxes, classes, on_offsets=on_offsets, weight=settings.weight)
    exclusive = not is_independent(classes)
    background = exclusive and not MODELS[config["model"]["name"]].meta.get("objectness")
    scores = num_classes + background
    wanted = torch.zeros(1, dtype=torch.int64) if exclusive else torch.zeros(1, scores)
    try:
        classes.each(torch.zeros(1, scores), wanted)
    except (RuntimeError, UserError) as error:
        settings = ", ".join(f"{name}={value}" for name, value in config["loss"].items() if value is not None)
        names = f"{num_classes} classes" + (" and background" if background else "")
        raise UserError(f"loss: {settings} does not work for {names}: {first_line(error)}") from error
    return loss, exclusive


def _loss(section: Config, num_classes: int, task: str, *, soft: bool) -> nn.Module:
    """The loss, after it was tried on a sample of each class, or of each number to predict.

    Raises:
        UserError: if it cannot work with so many classes.
    """
    _, loss = LOSSES.from_section(section)
    settings = ", ".join(f"{name}={value}" for name, value in section.items() if value is not None)
    numbers = task == "regress" or soft
    try:
        value = loss(
            torch.zeros(num_classes, num_classes), torch.eye(num_classes) if numbers else torch.arange(num_classes)
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"loss: {settings} does not work for {num_classes} classes: {first_line(error)}") from error
    if not value.isfinite():
        raise UserError(f"loss: {settings} gives {value.item()} for one sample of each of {num_classes} classes")
    return loss
