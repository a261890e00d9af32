"""What a training is made of beside its network and its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

from dlzoo.core.distributed import SINGLE_PROCESS, Rank
from dlzoo.engine.clock import TrainSchedule
from dlzoo.optim.regularise import Regulariser

Record = Callable[[int, float, dict[str, float]], None]
#: How closely callbacks follow a training.
Observed = Literal["steps", "epochs"]


@dataclass
class Recipe:
    """How a network is trained.

    Args:
        schedule: the clock.
        make_optimizer: network -> optimizer.
        lr_factor: step -> factor of the optimizer's rates; an optim.Observer is told of each validation.
        uses_closure: whether the optimizer's step takes a closure.
        regulariser: what is done to gradients and weights around each step of the optimizer.
        clip_norm: the gradient's largest norm.
        self_adversarial: size of the step by which images are perturbed first, as a share of the pixels' range.
        ema: decay of the averaged weights, which are then what is evaluated.
        patience: epochs without a better validation score after which the training stops.
        frozen: children of the network that stay as they are, running statistics included.
        compiled: whether the training's forward and backward passes are compiled.
    """

    schedule: TrainSchedule
    make_optimizer: Callable[[nn.Module], Optimizer]
    lr_factor: Callable[[int], float]
    uses_closure: bool = False
    regulariser: Regulariser | None = None
    clip_norm: float | None = None
    self_adversarial: float = 0.0
    ema: float | None = None
    patience: int | None = None
    frozen: tuple[nn.Module, ...] = ()
    compiled: bool = False


@dataclass(frozen=True)
class Context:
    """Where a training runs, and who follows it.

    Args:
        reseed: (device, step) -> None; points dropout's generator at the step.
        record: (step, epoch, values) -> None; takes every logged scalar.
        rank: which of the processes that share the batches this is.
        observed: "steps" if a user's callbacks follow each step, which then goes through Lightning's wrappers; "epochs"
            if there are others; both find the logged numbers in trainer.callback_metrics.
    """

    reseed: Callable[[torch.device, int], None]
    record: Record
    rank: Rank = SINGLE_PROCESS
    observed: Observed | None = None
