"""Learning-rate schedules and warm-up."""

import io
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.core.registries import SCHEDULES
from dlzoo.optim.settings import Observer, Span, Warmup

SPAN = Span(steps=1000, steps_per_epoch=10)


def schedule(name: str, **settings: object) -> list[float]:
    factor = build("schedule", name, **settings)(SPAN)
    return [factor(step) for step in range(1000)]


def of_torch(kind: type[lr_scheduler.LRScheduler], each: int = 1, **settings: Any) -> list[float]:
    """The rates of 1000 steps, starting from a rate of 1, where the scheduler moves after every `each` of them."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, rates = kind(optimizer, **settings), []
    for step in range(1, 1001):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step % each == 0 and step < 1000:
            scheduler.step()
    return rates


def test_schedules() -> None:
    assert set(schedule("constant")) == {1.0}
    steps = schedule("step", every=30, gamma=0.5)
    assert (steps[0], steps[299], steps[300], steps[999]) == (1, 1, 0.5, 0.125)
    milestones = schedule("multi_step", milestones=[0.5, 80])
    assert milestones[499] == 1
    assert milestones[500] == pytest.approx(0.1)
    assert milestones[799] == pytest.approx(0.1)
    assert milestones[800] == pytest.approx(0.01)
    cosine = schedule("cosine", final=0.1)
    assert cosine[0] == 1
    assert cosine[500] == pytest.approx(0.55)
    assert cosine[999] == pytest.approx(0.1, abs=1e-4)
    assert all(a >= b for a, b in pairwise(cosine))
    linear = schedule("polynomial", power=1, final=0.5)
    assert (linear[0], linear[500]) == (1, pytest.approx(0.75))


@pytest.mark.parametrize(
    ("name", "settings", "kind", "of_theirs"),
    [
        ("step", {"every": 30, "gamma": 0.5}, lr_scheduler.StepLR, {"each": 10, "step_size": 30, "gamma": 0.5}),
        ("multi_step", {"milestones": [5, 60]}, lr_scheduler.MultiStepLR, {"each": 10, "milestones": [5, 60]}),
        ("exponential", {"gamma": 0.9}, lr_scheduler.ExponentialLR, {"gamma": 0.9**0.1}),
        ("polynomial", {"power": 2}, lr_scheduler.PolynomialLR, {"total_iters": 1000, "power": 2}),
        ("cosine", {"final": 0.1}, lr_scheduler.CosineAnnealingLR, {"T_max": 1000, "eta_min": 0.1}),
        *(
            (
                "one_cycle",
                {"peak": 0.4, "start": 0.1, "final": 1e-3, "anneal": anneal, "three_phase": three_phase},
                lr_scheduler.OneCycleLR,
                {"max_lr": 1.0, "total_steps": 1000, "pct_start": 0.4, "div_factor": 10, "final_div_factor": 100}
                | {"anneal_strategy": anneal, "three_phase": three_phase, "cycle_momentum": False},
            )
            for anneal in ("cos", "linear")
            for three_phase in (False, True)
        ),
    ],
)
def test_schedules_against_torch(name: str, settings: Any, kind: Any, of_theirs: Any) -> None:
    np.testing.assert_allclose(schedule(name, **settings), of_torch(kind, **of_theirs), rtol=1e-9, atol=1e-12)


def test_one_cycle_at_its_limits() -> None:
    assert schedule("one_cycle", peak=0.0, final=0.0, anneal="linear")[0] == 1
    assert schedule("one_cycle", peak=100.0, start=0.5)[-1] == pytest.approx(4e-6)
    for settings in ({"peak": 101.0}, {"peak": 0.6, "three_phase": True}):
        with pytest.raises(UserError, match=r"schedule\.peak=.* the run has 1000 steps"):
            schedule("one_cycle", **settings)


@pytest.mark.parametrize("seed", range(4))
def test_plateau_against_torch(seed: int) -> None:
    scores = np.random.default_rng(seed).random(200).round(2) * np.linspace(0.5, 1, 200)
    ours = build("schedule", "plateau", gamma=0.5, patience=3, threshold=0.01, least=0.02)(SPAN)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(
        *(optimizer, "max", 0.5, 3), threshold=0.01, threshold_mode="abs", min_lr=0.02, eps=0
    )
    factors = []
    for score in scores:
        ours.observe(float(score))
        theirs.step(float(score))
        factors.append(ours(0))
        assert factors[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert len(set(factors)) > 3
    assert factors[-1] == 0.02


def test_plateau_goes_on_where_it_stopped() -> None:
    scores, whole = [0.5, 0.4, 0.6, 0.6, 0.6, 0.7, 0.1, 0.2, 0.2], []
    factor = Warmup(0.5).before(build("schedule", "plateau", patience=1)(SPAN), SPAN)
    for score in scores:
        assert isinstance(factor, Observer)
        state = factor.state_dict()
        torch.save(state, file := io.BytesIO())
        file.seek(0)
        factor = Warmup(0.5).before(build("schedule", "plateau", patience=1)(SPAN), SPAN)
        assert isinstance(factor, Observer)
        factor.load_state_dict(torch.load(file, weights_only=True))
        factor.observe(score)
        whole.append(factor(999))
    assert whole == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("name", SCHEDULES.names())
@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (0.05, 50), (3.0, 30)])
def test_every_schedule_can_be_warmed_up(name: str, warmup: float, steps: int) -> None:
    bare = build("schedule", name)(SPAN)
    warmed = Warmup(warmup).before(bare, SPAN)
    for step in (0, 1, 20, 49, 60, 999):
        ramp = min(1, (step + 1) / steps) if steps else 1
        assert math.isclose(warmed(step), bare(step) * ramp)
    follows = SCHEDULES[name].marks.validation
    assert isinstance(bare, Observer) == isinstance(warmed, Observer) == follows


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_every_schedule_starts_and_ends_within_the_rate(name: str) -> None:
    assert all(0 <= factor <= 1 for factor in schedule(name))
    assert 0 <= build("schedule", name)(Span(steps=1, steps_per_epoch=1))(0) <= 1
