"""Weight decay of either kind, and L1."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso
from torch import nn

from dlzoo.builder.model import build
from dlzoo.core.entries import OptimizerMarks
from dlzoo.core.entry import Entry
from dlzoo.core.errors import UserError
from dlzoo.core.registries import OPTIMIZERS
from dlzoo.optim.settings import OptimizerSettings
from tests.optim.test_optimizers import FIRST_ORDER, Problem


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_decoupled_weight_decay_takes_its_share_of_the_weights(name: str) -> None:
    problem = Problem(name, decoupled=True, weight_decay=0.5, lr=0.1)
    problem.y = problem.layer(problem.x).detach()  # no gradient
    before = problem.weights
    problem.step()
    for old, new in zip(before, problem.weights, strict=True):
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("name", [name for name in FIRST_ORDER if name != "sam"])
def test_coupled_weight_decay_is_part_of_the_gradient(name: str) -> None:
    coupled, by_hand = Problem(name, decoupled=False, weight_decay=0.5), Problem(name, weight_decay=0.0)
    for _ in range(3):
        coupled.step()
        by_hand.closure()
        for parameter in by_hand.layer.parameters():
            assert parameter.grad is not None
            parameter.grad += 0.5 * parameter.detach()
        by_hand.optimizer.step()
    for ours, theirs in zip(coupled.weights, by_hand.weights, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("decoupled", "ours", "theirs"), [(True, "adam", "adamw"), (False, "adamw", "adam")])
def test_weight_decay_turns_adam_into_adamw_and_back(decoupled: bool, ours: str, theirs: str) -> None:
    one, other = Problem(ours, decoupled=decoupled, weight_decay=0.3), Problem(theirs, weight_decay=0.3)
    for _ in range(4):
        assert one.step() == pytest.approx(other.step(), rel=1e-5)


def test_decoupled_weight_decay_of_sam_leaves_what_it_evaluates_alone() -> None:
    decayed, bare = Problem("sam", decoupled=True, weight_decay=0.5, lr=0.1), Problem("sam", weight_decay=0.0, lr=0.1)
    before = bare.weights
    decayed.step()
    bare.step()
    for old, ours, theirs in zip(before, decayed.weights, bare.weights, strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * 0.5 * old)


def test_nothing_works_beside_an_optimizer_unless_it_is_asked_for() -> None:
    assert OptimizerSettings().regulariser("adam") is None
    assert OptimizerSettings(decoupled=False).regulariser("adam") is None  # as it does itself
    assert OptimizerSettings(decoupled=True).regulariser("adamw") is None
    assert OptimizerSettings(decoupled=True).regulariser("adam") is not None
    assert OptimizerSettings(l1=0.1).regulariser("sgd") is not None


def test_weight_decay_that_an_optimizer_does_not_have_is_not_decoupled(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(params: Any, *, lr: float = 0.1) -> torch.optim.Optimizer:
        return torch.optim.Rprop(params, lr=lr)

    monkeypatch.setitem(OPTIMIZERS._entries, "bare", Entry("optimizer", "bare", bare, "a plug-in", OptimizerMarks()))
    with pytest.raises(UserError, match="optimizer=bare has no weight_decay"):
        OptimizerSettings(decoupled=True).regulariser("bare")
    assert OptimizerSettings(l1=0.1).regulariser("bare") is not None


def test_groups_spared_from_weight_decay_are_spared_either_way() -> None:
    network = nn.Linear(3, 2)
    settings = OptimizerSettings(decay="weights", decoupled=True)
    optimizer = build("optimizer", "sgd", lr=0.1, weight_decay=0.5)(settings.groups(network, 0.1))
    regulariser = settings.regulariser("sgd")
    assert regulariser is not None
    regulariser.claim(optimizer)
    old = [parameter.detach().clone() for parameter in (network.weight, network.bias)]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    regulariser.before_step()
    optimizer.step()
    regulariser.after_step()
    torch.testing.assert_close(network.weight.detach(), 0.95 * old[0])
    assert torch.equal(network.bias, old[1])


@pytest.mark.parametrize("l2", [0.0, 0.2])
@pytest.mark.parametrize("decoupled", [None, True])
def test_l1_against_sklearns_lasso_and_elastic_net(l2: float, decoupled: bool | None) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 30))
    truth = np.where(np.arange(30) < 5, generator.normal(size=30) * 2, 0)
    y = x @ truth + 0.1 * generator.normal(size=100)
    l1 = 0.1
    total = l1 + l2  # sklearn: alpha * (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|^2)
    reference = ElasticNet(total, l1_ratio=l1 / total, fit_intercept=False, tol=1e-12, max_iter=10**5) if l2 else None
    reference = (reference or Lasso(l1, fit_intercept=False, tol=1e-12, max_iter=10**5)).fit(x, y)
    layer, data, target = nn.Linear(30, 1, bias=False).double(), torch.tensor(x), torch.tensor(y)[:, None]
    settings = OptimizerSettings(l1=l1, decoupled=decoupled)
    optimizer = build("optimizer", "sgd", lr=0.2, weight_decay=l2)(settings.groups(layer, 0.2))
    regulariser = settings.regulariser("sgd")
    assert regulariser is not None
    regulariser.claim(optimizer)
    for _ in range(600):
        optimizer.zero_grad()
        ((layer(data) - target).square().mean() / 2).backward()
        regulariser.before_step()
        optimizer.step()
        regulariser.after_step()
    ours = layer.weight.detach().numpy()[0]
    np.testing.assert_allclose(ours, reference.coef_, atol=1e-6)
    assert ((ours == 0) == (reference.coef_ == 0)).all()
    assert (ours == 0).sum() > 15


def test_l1_leaves_biases_and_scales_alone_and_follows_the_rate() -> None:
    layer = nn.Linear(2, 2)
    optimizer = build("optimizer", "sgd", lr=1.0, weight_decay=0.0)(list(layer.parameters()))
    regulariser = OptimizerSettings(l1=0.5).regulariser("sgd")
    assert regulariser is not None
    regulariser.claim(optimizer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1.0], [0.05, -0.2]]))
        layer.bias.fill_(0.01)
    optimizer.param_groups[0]["lr"] = 0.2
    regulariser.before_step()
    regulariser.after_step()
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.9, -0.9], [0.0, -0.1]]))
    assert layer.weight[1, 0] == 0
    assert torch.equal(layer.bias.detach(), torch.full((2,), 0.01))
