"""Settings that every optimizer and every schedule shares, and the span of a run that schedules are laid over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from dlzoo.knobs import NonNegative, PositiveInt


@dataclass(frozen=True)
class OptimizerSettings:
    """Which rate is meant, and what weight decay touches.

    `lr_reference_batch`: the batch size that `lr` was tuned for; the rate used is lr * batch_size / reference
    (the linear scaling of arXiv:1706.02677). null uses `lr` as it is.
    `decay`: "weights" leaves biases and the scales of norms out of weight decay.
    """

    lr_reference_batch: PositiveInt | None = None
    decay: Literal["all", "weights"] = "all"

    def effective_lr(self, lr: float, batch_size: int) -> float:
        return lr if self.lr_reference_batch is None else lr * batch_size / self.lr_reference_batch

    def groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups of what is trainable. Weights have two dimensions or more; biases and scales have one."""
        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if self.decay == "all":
            return [{"params": trainable}]
        weights = [parameter for parameter in trainable if parameter.dim() >= 2]
        others = [parameter for parameter in trainable if parameter.dim() < 2]
        groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]


@dataclass(frozen=True)
class Span:
    """The length of a run, in optimizer steps."""

    steps: int
    steps_per_epoch: int

    def at(self, time: float) -> int:
        """A point in time as a step: a number below 1 is a fraction of the run, any other counts epochs."""
        return round(time * (self.steps if time < 1 else self.steps_per_epoch))


@dataclass(frozen=True)
class Warmup:
    """`warmup`: the rate first rises linearly, for a fraction of the run (below 1) or for epochs (1 and more)."""

    warmup: NonNegative = 0.0

    def before(self, schedule: Callable[[int], float], span: Span) -> Callable[[int], float]:
        """`schedule`, multiplied by the ramp."""
        steps = span.at(self.warmup)
        return (lambda step: schedule(step) * min(1.0, (step + 1) / steps)) if steps else schedule
