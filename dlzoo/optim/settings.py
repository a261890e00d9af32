"""Settings common to every optimizer and every schedule, and the length of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import LARGEST, Bounds, NonNegative, PositiveInt
from dlzoo.optim.regularise import Regulariser

Schedule = Callable[[int], float]

#: A time in a run: a fraction of it below 1, epochs from 1 on.
Time = Annotated[float, Bounds(minimum=0, maximum=LARGEST)]
#: A number in (0, 1].
Share = Annotated[float, Bounds(exclusiveMinimum=0, maximum=1)]


@runtime_checkable
class Observer(Protocol):
    """A schedule that depends on validation: step -> factor, updated by `observe`."""

    def __call__(self, step: int) -> float: ...
    def observe(self, score: float) -> None:
        """Update with the score of a validation; larger is better."""

    def state_dict(self) -> dict[str, float]: ...
    def load_state_dict(self, state: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class OptimizerSettings:
    """Scaling of the learning rate, and regularisation.

    `lr_reference_batch`: the batch size that `lr` was tuned for; the rate used is lr * batch_size / reference
    (the linear scaling of arXiv:1706.02677). null uses `lr` unchanged.
    `layer_decay`: the rate of the last layer is `lr`; that of each earlier layer is `layer_decay` times the next one's
    (arXiv:2003.10555, appendix B, where the head is a separate layer; for images arXiv:2106.08254).
    `decay`: "weights" excludes biases and the scales of norms from weight decay.
    `decoupled`: true subtracts lr * weight_decay * w from the weights (arXiv:1711.05101, algorithm 2); false adds
    weight_decay * w to the gradient (L2); null does what the optimizer's paper does.
    `l1`: after each step weights of two and more dimensions are soft-thresholded by lr * l1: exact zeros. With
    optimizer=sgd that is proximal gradient descent on loss + l1 * |w|_1 (Beck and Teboulle 2009, equation 1.4): the
    lasso, and with weight_decay the elastic net. Momentum multiplies the effect of the gradient by 1 / (1 - momentum),
    but not that of l1 or of decoupled weight decay.
    """

    lr_reference_batch: PositiveInt | None = None
    layer_decay: Share = 1.0
    decay: Literal["all", "weights"] = "all"
    decoupled: bool | None = None
    l1: NonNegative = 0.0

    def effective_lr(self, lr: float, batch_size: int) -> float:
        return lr if self.lr_reference_batch is None else lr * batch_size / self.lr_reference_batch

    def groups(self, network: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Return the groups of trainable parameters, the last layer's first; `lr` is the optimizer's.

        Weights have two dimensions or more; biases and scales have one. A parameter outside `units` has the rate of the
        first unit.
        """
        layers = units(network) if self.layer_decay < 1 else []
        if len(layers) == 1:
            raise UserError(
                "optimizer.layer_decay needs several layers, and the model has one; set optimizer.layer_decay=1"
            )
        above = {id(p): place for place, layer in enumerate(reversed(layers)) for p in layer.parameters()}
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for parameter in network.parameters():
            if parameter.requires_grad:
                place = above.get(id(parameter), max(0, len(layers) - 1))
                no_decay = self.decay == "weights" and parameter.dim() < 2
                options = {"weight_decay": 0.0} if no_decay else {}
                if layers:
                    options["lr"] = lr * self.layer_decay**place
                groups.setdefault((place, no_decay), {"params": [], **options})["params"].append(parameter)
        return [groups[key] for key in sorted(groups)]

    def regulariser(self, optimizer: str) -> Regulariser | None:
        """Return the regulariser for an optimizer, by name; None if the optimizer's own weight decay is enough.

        Raises:
            UserError: if the optimizer does not support `decoupled` or `l1`.
        """
        entry = OPTIMIZERS[optimizer]
        changed = [f"optimizer.{key}" for key, off in (("decoupled", None), ("l1", 0.0)) if getattr(self, key) != off]
        if changed and not entry.marks.clips:
            raise UserError(f"optimizer={optimizer} minimises loss and weight decay jointly: leave {changed[0]} out")
        if self.decoupled is not None and "weight_decay" not in entry.settings:
            raise UserError(f"optimizer={optimizer} has no weight_decay: leave optimizer.decoupled out")
        decoupled = None if self.decoupled == entry.marks.decoupled else self.decoupled
        return None if decoupled is None and not self.l1 else Regulariser(self.l1, decoupled)


def units(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network in order: its children with trainable parameters, nn.Sequential flattened.

    A residual block is one unit, and so is the body of a third-party model before its head.
    """
    layers = []
    for child in network.children():
        if type(child) is nn.Sequential:  # a subclass is a block, and not flattened
            layers += units(child)
        elif any(parameter.requires_grad for parameter in child.parameters()):
            layers.append(child)
    return layers


@dataclass(frozen=True)
class Span:
    """The length of a run, in optimizer steps."""

    steps: int
    steps_per_epoch: int

    def at(self, time: float) -> int:
        """Return the step at `time`: below 1 a fraction of the run, otherwise a number of epochs."""
        return round(min(time, 1e12) * (self.steps if time < 1 else self.steps_per_epoch))


@dataclass(frozen=True)
class Warmup:
    """`warmup`: length of a linear ramp from 0 to 1 that multiplies the schedule: a fraction of the run, or epochs."""

    warmup: Time = 0.0

    def before(self, schedule: Schedule, span: Span) -> Schedule:
        """Return `schedule` multiplied by the ramp; for an Observer, return an Observer."""
        steps = span.at(self.warmup)
        if not steps:
            return schedule
        return WarmupObserver(schedule, steps) if isinstance(schedule, Observer) else WarmupSchedule(schedule, steps)


class WarmupSchedule:
    """A schedule multiplied by a linear ramp of `steps` steps."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule, self._steps = schedule, steps

    def __call__(self, step: int) -> float:
        return self._schedule(step) * min(1.0, (step + 1) / self._steps)


class WarmupObserver(WarmupSchedule):
    """An Observer multiplied by a linear ramp, during which it observes too."""

    def __init__(self, schedule: Observer, steps: int) -> None:
        super().__init__(schedule, steps)
        self.observe = schedule.observe
        self.state_dict, self.load_state_dict = schedule.state_dict, schedule.load_state_dict
