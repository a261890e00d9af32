"""Settings that every optimizer and every schedule shares, and the span of a run that schedules are laid over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.core.schema import Bounds, NonNegative, PositiveInt
from dlzoo.optim.regularise import Regulariser

Schedule = Callable[[int], float]

#: Above 0, up to 1.
Share = Annotated[float, Bounds(exclusiveMinimum=0, maximum=1)]


@runtime_checkable
class Observer(Protocol):
    """A schedule that follows validation: step -> factor, changed by the scores that it is told of."""

    def __call__(self, step: int) -> float: ...
    def observe(self, score: float) -> None:
        """Take the score of a validation; larger is better."""

    def state_dict(self) -> dict[str, float]: ...
    def load_state_dict(self, state: dict[str, float]) -> None: ...


@dataclass(frozen=True)
class OptimizerSettings:
    """Which rate is meant, and what keeps weights small.

    `lr_reference_batch`: the batch size that `lr` was tuned for; the rate used is lr * batch_size / reference
    (the linear scaling of arXiv:1706.02677). null uses `lr` as it is.
    `layer_decay`: the last layer learns with `lr`, each one before it with so many times the rate of the next
    (arXiv:2003.10555, appendix B, where the head is a layer of its own; for images arXiv:2106.08254).
    `decay`: "weights" leaves biases and the scales of norms out of weight decay.
    `decoupled`: weight decay as w -= lr * weight_decay * w apart from the gradient (arXiv:1711.05101, algorithm 2), or
    with false as weight_decay * w added to the gradient (L2). null is as the optimizer's paper has it.
    `l1`: after each step weights of two and more dimensions are soft-thresholded by lr * l1: exact zeros. With
    optimizer=sgd that is proximal gradient descent on loss + l1 * |w|_1 (Beck and Teboulle 2009, equation 1.4): the
    lasso, and with weight_decay the elastic net. Momentum multiplies what the gradient does by 1 / (1 - momentum), and
    neither this nor decoupled weight decay.
    """

    lr_reference_batch: PositiveInt | None = None
    layer_decay: Share = 1.0
    decay: Literal["all", "weights"] = "all"
    decoupled: bool | None = None
    l1: NonNegative = 0.0

    def effective_lr(self, lr: float, batch_size: int) -> float:
        return lr if self.lr_reference_batch is None else lr * batch_size / self.lr_reference_batch

    def groups(self, network: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Parameter groups of what is trainable, the last layer's first; `lr` is the optimizer's.

        Weights have two dimensions or more; biases and scales have one. What belongs to no unit learns like the first.
        """
        layers = units(network) if self.layer_decay < 1 else []
        if len(layers) == 1:
            raise UserError("optimizer.layer_decay needs several layers, and the model has one; leave it out")
        above = {id(p): place for place, layer in enumerate(reversed(layers)) for p in layer.parameters()}
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for parameter in network.parameters():
            if parameter.requires_grad:
                place = above.get(id(parameter), max(0, len(layers) - 1))
                spared = self.decay == "weights" and parameter.dim() < 2
                own = {"weight_decay": 0.0} if spared else {}
                if layers:
                    own["lr"] = lr * self.layer_decay**place
                groups.setdefault((place, spared), {"params": [], **own})["params"].append(parameter)
        return [groups[key] for key in sorted(groups)]

    def regulariser(self, optimizer: str) -> Regulariser | None:
        """What works beside the optimizer of this name; None if nothing is asked for that it does not do itself.

        Raises:
            UserError: if it cannot be had with this optimizer.
        """
        entry = OPTIMIZERS[optimizer]
        asked = [f"optimizer.{key}" for key, off in (("decoupled", None), ("l1", 0.0)) if getattr(self, key) != off]
        if asked and not entry.marks.clips:
            raise UserError(f"optimizer={optimizer} minimises loss and weight decay as one: leave {asked[0]} out")
        if self.decoupled is not None and "weight_decay" not in entry.knobs:
            raise UserError(f"optimizer={optimizer} has no weight_decay: leave optimizer.decoupled out")
        decoupled = None if self.decoupled == entry.marks.decoupled else self.decoupled
        return None if decoupled is None and not self.l1 else Regulariser(self.l1, decoupled)


def units(network: nn.Module) -> list[nn.Module]:
    """The layers of a network in their order: its children that can learn, nn.Sequential opened.

    A residual block is one, and so is what a model from elsewhere has before its head.
    """
    found = []
    for child in network.children():
        if type(child) is nn.Sequential:  # a class of its own is a block with a name
            found += units(child)
        elif any(parameter.requires_grad for parameter in child.parameters()):
            found.append(child)
    return found


@dataclass(frozen=True)
class Span:
    """The length of a run, in optimizer steps."""

    steps: int
    steps_per_epoch: int

    def at(self, time: float) -> int:
        """A point in time as a step: a number below 1 is a fraction of the run, any other counts epochs."""
        return round(min(time, 1e12) * (self.steps if time < 1 else self.steps_per_epoch))


@dataclass(frozen=True)
class Warmup:
    """`warmup`: a ramp from 0 to 1 that multiplies the schedule, for a fraction of the run (below 1) or for epochs."""

    warmup: NonNegative = 0.0

    def before(self, schedule: Schedule, span: Span) -> Schedule:
        """`schedule`, multiplied by the ramp; an Observer stays one."""
        steps = span.at(self.warmup)
        if not steps:
            return schedule
        return WarmedObserver(schedule, steps) if isinstance(schedule, Observer) else Warmed(schedule, steps)


class Warmed:
    """A schedule behind a linear ramp of so many steps."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        self._schedule, self._steps = schedule, steps

    def __call__(self, step: int) -> float:
        return self._schedule(step) * min(1.0, (step + 1) / self._steps)


class WarmedObserver(Warmed):
    """An Observer behind a linear ramp, during which it observes too."""

    def __init__(self, schedule: Observer, steps: int) -> None:
        super().__init__(schedule, steps)
        self.observe = schedule.observe
        self.state_dict, self.load_state_dict = schedule.state_dict, schedule.load_state_dict
