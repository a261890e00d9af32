"""Learning-rate schedules. An entry waits for the run's `span` and returns step -> factor of the rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from dlzoo.knobs import Fraction, NonNegative, Positive
from dlzoo.optim.settings import Span
from dlzoo.registry import SCHEDULES

Schedule = Callable[[int], float]


@SCHEDULES.register("constant", source="the rate as it is")
def constant(span: Span) -> Schedule:
    """1"""
    return lambda step: 1.0


@SCHEDULES.register("step", source="arXiv:1706.02677, section 5.1")
def step_decay(span: Span, *, every: Positive = 30.0, gamma: Fraction = 0.1) -> Schedule:
    """Multiplied by gamma `every` so often: a fraction of the run below 1, epochs from 1 on"""
    period = max(1, span.at(every))
    return lambda step: gamma ** (step // period)


@SCHEDULES.register("multi_step", source="arXiv:1512.03385, section 4.2")
def multi_step(span: Span, *, milestones: tuple[NonNegative, ...] = (0.5, 0.75), gamma: Fraction = 0.1) -> Schedule:
    """Multiplied by gamma at each milestone: a fraction of the run below 1, epochs from 1 on"""
    steps = sorted(span.at(milestone) for milestone in milestones)
    return lambda step: gamma ** bisect_right(steps, step)


@SCHEDULES.register("cosine", source="arXiv:1608.03983, equation 5, without restarts")
def cosine(span: Span, *, final: Fraction = 0.0) -> Schedule:
    """Half a cosine from 1 to `final` at the end of the run"""
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / span.steps))
