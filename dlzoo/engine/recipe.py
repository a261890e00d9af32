"""How a network is trained: everything but the network and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

from dlzoo.core.distributed import SINGLE_PROCESS, Rank
from dlzoo.core.entries import Metric
from dlzoo.core.errors import UserError
from dlzoo.engine.clock import TrainSchedule
from dlzoo.engine.loss_scale import LossScale
from dlzoo.optim.regularise import Regulariser

Recorder = Callable[[int, float, dict[str, float]], None]
#: Whether a user's callbacks need every step, or epochs only.
Observed = Literal["steps", "epochs"]


@dataclass
class Recipe:
    """How a network is trained.

    Args:
        schedule: when the run ends, logs and saves.
        make_optimizer: network -> optimizer.
        lr_factor: step -> factor of the learning rates; an optim.Observer also gets each validation score.
        uses_closure: whether the optimizer's step takes a closure.
        regulariser: applied to gradients and weights before and after each optimizer step.
        clip_norm: maximum norm of the gradient.
        self_adversarial: size of the adversarial perturbation of the images, as a fraction of the pixel range.
        ema: decay of the averaged weights, which are then the ones evaluated.
        monitor: the metric that decides which validation is better; None for the task's own, of which larger is better.
        keep_best: the number of best validations of which the checkpoints are kept.
        patience: validations without a better score after which training stops.
        frozen: children of the network that are not trained; their running statistics do not change either.
        compiled: whether the forward and backward passes of training are compiled.
        loss_scale: the scale of the loss, for fp16.
    """

    schedule: TrainSchedule
    make_optimizer: Callable[[nn.Module], Optimizer]
    lr_factor: Callable[[int], float]
    uses_closure: bool = False
    regulariser: Regulariser | None = None
    clip_norm: float | None = None
    self_adversarial: float = 0.0
    ema: float | None = None
    monitor: Metric | None = None
    keep_best: int | None = None
    patience: int | None = None
    frozen: tuple[nn.Module, ...] = ()
    compiled: bool = False
    loss_scale: LossScale | None = None

    def score(self, values: Mapping[str, float], name: str) -> float:
        """Return the value of the monitored metric `name` in the results of a validation, negated if less is better.

        Raises:
            UserError: if it was not measured.
        """
        value = values.get(f"val/{name}")
        if value is None:
            raise UserError(
                f"trainer.monitor={name}: nothing in the validation split defines it; choose another metric"
            )
        return value if self.monitor is None or self.monitor.higher_is_better else -value


@dataclass(frozen=True)
class Context:
    """The process that a training runs in, and what observes it.

    Args:
        reseed: (device, step) -> None; seeds dropout's generator for the step.
        record: (step, epoch, values) -> None; receives every logged scalar.
        rank: the rank of this process among those that share the batches.
        observed: "steps" if a user's callbacks need each step, which then goes through Lightning's wrappers; "epochs"
            if there are other callbacks; both find the logged values in trainer.callback_metrics.
    """

    reseed: Callable[[torch.device, int], None]
    record: Recorder
    rank: Rank = SINGLE_PROCESS
    observed: Observed | None = None
