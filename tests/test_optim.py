import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from dlzoo.errors import UserError
from dlzoo.optim.settings import OptimizerSettings, Span, Warmup
from dlzoo.registry import OPTIMIZERS, SCHEDULES
from dlzoo.zoo import build, build_model

SPAN = Span(steps=1000, steps_per_epoch=10)


def schedule(name: str, **knobs: object) -> list[float]:
    factor = build("schedule", name, **knobs)(SPAN)
    return [factor(step) for step in range(1000)]


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


@pytest.mark.parametrize("name", SCHEDULES.names())
@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (0.05, 50), (3.0, 30)])
def test_every_schedule_can_be_warmed_up(name: str, warmup: float, steps: int) -> None:
    bare = build("schedule", name)(SPAN)
    warmed = Warmup(warmup).before(bare, SPAN)
    for step in (0, 1, 20, 49, 60, 999):
        ramp = min(1, (step + 1) / steps) if steps else 1
        assert math.isclose(warmed(step), bare(step) * ramp)


def test_the_rate_can_follow_the_batch() -> None:
    assert OptimizerSettings().effective_lr(0.1, 32) == 0.1
    assert OptimizerSettings(lr_reference_batch=256).effective_lr(0.1, 32) == 0.0125


def test_weight_decay_can_leave_norms_and_biases_out() -> None:
    network = build_model("resnet20", num_classes=10)
    (everything,) = OptimizerSettings().groups(network)
    assert len(everything["params"]) == len(list(network.parameters()))
    decayed, spared = OptimizerSettings(decay="weights").groups(network)
    optimizer = build("optimizer", "sgd", weight_decay=0.1)([decayed, spared])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    norms = [module for module in network.modules() if type(module).__name__ == "BatchNorm"]
    assert len(spared["params"]) == 2 * len(norms) + 1  # the head's bias
    network.stages.requires_grad_(False)
    (trained,) = OptimizerSettings().groups(network)
    assert len(trained["params"]) == 5  # the stem's weight, scale and shift; the head's weight and bias


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_descends(name: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 1), torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    optimizer = build("optimizer", name, lr=0.05, weight_decay=0.0)(layer.parameters())
    losses = []
    for _ in range(300):
        loss = (layer(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(UserError, match=r"needs optimizer\.momentum"):
        build("optimizer", "sgd", nesterov=True, momentum=0.0)([torch.zeros(1, requires_grad=True)])


def test_cross_entropy_against_its_formula() -> None:
    logits, target = torch.randn(16, 5, dtype=torch.float64), torch.randint(5, (16,))
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    plain = -log_p[torch.arange(16), target]
    torch.testing.assert_close(build("loss", "cross_entropy")(logits, target), plain.mean())
    smooth = 0.8 * plain - 0.2 * log_p.mean(1)
    torch.testing.assert_close(build("loss", "cross_entropy", label_smoothing=0.2)(logits, target), smooth.mean())
    weights = [1.0, 2.0, 0.0, 1.0, 0.5]
    w = torch.tensor(weights, dtype=torch.float64)[target]
    weighted = build("loss", "cross_entropy", class_weights=weights).double()
    torch.testing.assert_close(weighted(logits, target), (w * plain).sum() / w.sum())
