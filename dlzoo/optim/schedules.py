"""Learning-rate schedules. An entry takes the run's `span` and returns step -> factor of the rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Annotated, Literal

from dlzoo.core.errors import UserError
from dlzoo.core.registries import SCHEDULES
from dlzoo.core.schema import LARGEST, Bounds, Fraction, NonNegative, NonNegativeInt, Positive
from dlzoo.optim.settings import Observer, Schedule, Span, Time

#: A time that is not 0.
Period = Annotated[float, Bounds(exclusiveMinimum=0, maximum=LARGEST)]


@SCHEDULES.register("constant", source="a constant rate")
def constant(span: Span) -> Schedule:
    """1"""
    return lambda step: 1.0


@SCHEDULES.register("step", source="arXiv:1608.06993, section 4.2")
def step_decay(span: Span, *, every: Period = 0.34, gamma: Fraction = 0.1) -> Schedule:
    """gamma^floor(t / every); `every` is a fraction of the run below 1, epochs from 1 on"""
    period = max(1, span.at(every))
    return lambda step: gamma ** (step // period)


@SCHEDULES.register("multi_step", source="arXiv:1512.03385, section 4.2")
def multi_step(span: Span, *, milestones: tuple[Time, ...] = (0.5, 0.75), gamma: Fraction = 0.1) -> Schedule:
    """gamma^(number of milestones passed); each is a fraction of the run below 1, epochs from 1 on

    Raises:
        UserError: if they are not in order.
    """
    steps = [span.at(milestone) for milestone in milestones]
    for (earlier, last), (later, step) in pairwise(zip(milestones, steps, strict=True)):
        if step < last:
            raise UserError(
                f"schedule.milestones are not in order: {later:g} (step {step}) is before {earlier:g} (step {last});"
                " a number below 1 is a fraction of the run, any other counts epochs"
            )
    return lambda step: gamma ** bisect_right(steps, step)


@SCHEDULES.register("exponential", source="arXiv:1801.04381, section 6.1")
def exponential(span: Span, *, gamma: Fraction = 0.98) -> Schedule:
    """gamma^t, t in epochs, continuous within an epoch"""
    return lambda step: gamma ** (step / span.steps_per_epoch)


@SCHEDULES.register("polynomial", source="arXiv:1606.00915, section 4.1")
def polynomial(span: Span, *, power: Positive = 0.9, final: Fraction = 0.0) -> Schedule:
    """final + (1 - final) * (1 - t / T)^power, T the length of the run; power 1 is linear"""
    return lambda step: final + (1 - final) * (1 - step / span.steps) ** power


@SCHEDULES.register("cosine", source="arXiv:1608.03983, equation 5, without restarts")
def cosine(span: Span, *, final: Fraction = 0.0) -> Schedule:
    """final + (1 - final) * (1 + cos(pi * t / T)) / 2, T the length of the run"""
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / span.steps))


@SCHEDULES.register("one_cycle", source="arXiv:1708.07120, section 4; two phases and cosine annealing as in fastai")
def one_cycle(
    span: Span,
    *,
    peak: Time = 0.3,
    start: Fraction = 0.04,
    final: Fraction = 4e-6,
    anneal: Literal["cos", "linear"] = "cos",
    three_phase: bool = False,
) -> Schedule:
    """start -> 1 until `peak`, then -> final at the end; in three phases 1 -> start -> final

    `peak` is a fraction of the run below 1, epochs from 1 on. Three phases are the paper's, with anneal=linear: down at
    the same slope as up, then far below `start`.

    Raises:
        UserError: if `peak` is too late for the rate to fall within the run.
    """
    top, last = max(0, span.at(peak) - 1), span.steps - 1
    rise, fall = [(0, start)] if top else [], [(2 * top, start)] if top and three_phase else []
    turns = [*rise, (top, 1.0), *fall, (last, final)]
    if turns[-2][0] > last:
        most = "half of the run" if three_phase else "the run"
        raise UserError(f"schedule.peak={peak:g} must lie within {most}; the run has {span.steps} steps")
    shape = (lambda share: (1 - math.cos(math.pi * share)) / 2) if anneal == "cos" else (lambda share: share)

    def factor(step: int) -> float:
        place = bisect_right(turns, step, key=lambda turn: turn[0])
        if place == len(turns):
            return final
        (begin, before), (end, after) = turns[place - 1], turns[place]
        return before + (after - before) * shape((step - begin) / (end - begin))

    return factor


class Plateau:
    """A factor multiplied by gamma, down to `least`, after `patience` + 1 validations without a gain of `threshold`."""

    def __init__(self, gamma: float, patience: int, threshold: float, least: float) -> None:
        self._gamma, self._patience, self._threshold, self._least = gamma, patience, threshold, least
        self._factor, self._best, self._waited = 1.0, -math.inf, 0

    def __call__(self, step: int) -> float:
        return self._factor

    def observe(self, score: float) -> None:
        better = score > self._best + self._threshold
        self._best, self._waited = (score, 0) if better else (self._best, self._waited + 1)
        if self._waited > self._patience:
            self._factor, self._waited = max(self._least, self._factor * self._gamma), 0

    def state_dict(self) -> dict[str, float]:
        return {"factor": self._factor, "best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self._factor, self._best, self._waited = state["factor"], state["best"], int(state["waited"])


@SCHEDULES.register("plateau", source="arXiv:1512.03385, section 3.4", validation=True)
def plateau(
    span: Span,
    *,
    gamma: Fraction = 0.1,
    patience: NonNegativeInt = 10,
    threshold: NonNegative = 1e-4,
    least: Fraction = 0.0,
) -> Observer:
    """max(least, gamma^k), k the number of plateaus: more than `patience` validations without a gain of `threshold`"""
    return Plateau(gamma, patience, threshold, least)
