"""Newton's method and L-BFGS."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.optim.settings import OptimizerSettings
from tests.optim.test_by_hand import twins
from tests.optim.test_optimizers import Problem


def solve(name: str, params: Any, loss: Callable[[], Tensor], steps: int, **settings: object) -> list[float]:
    """The losses before each of `steps` steps."""
    optimizer = build("optimizer", name, **settings)(params)

    def closure(create_graph: bool = False) -> Tensor:
        if create_graph:
            return loss()
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    return [optimizer.step(closure).item() for _ in range(steps)]


def classes(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x, centres = generator.normal(size=(200, 4)), generator.normal(size=(count, 4))
    return x, (x @ centres.T + generator.gumbel(size=(200, count))).argmax(1)


def test_newton_by_hand() -> None:
    x, y = classes(2)
    w, decay = np.zeros(4), 0.01

    def value(w: np.ndarray) -> float:
        return np.logaddexp(0, -(2 * y - 1) * (x @ w)).mean() + decay / 2 * w @ w

    weights, data, target = torch.zeros(4, dtype=torch.float64, requires_grad=True), torch.tensor(x), torch.tensor(y)

    def loss() -> Tensor:
        return F.binary_cross_entropy_with_logits(data @ weights, target.double())

    for _ in range(3):
        p = 1 / (1 + np.exp(-x @ w))
        gradient = x.T @ (p - y) / len(x) + decay * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x / len(x) + decay * np.eye(4)
        direction, t = -np.linalg.solve(hessian, gradient), 1.0
        while value(w + t * direction) > value(w) + 0.1 * t * gradient @ direction:
            t /= 2
        w = w + t * direction
        solve("newton", [weights], loss, 1, weight_decay=decay)
        np.testing.assert_allclose(weights.detach().numpy(), w, rtol=1e-9)


def test_newton_solves_least_squares_in_a_step() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((50, 70), (50,)))
    weights, bias = torch.zeros(70, dtype=torch.float64, requires_grad=True), torch.zeros(1).double().requires_grad_()
    groups = [{"params": [weights]}, {"params": [bias], "weight_decay": 0.0}]
    solve("newton", groups, lambda: (x @ weights + bias - y).square().mean() / 2, 1, weight_decay=0.1)
    ridge = torch.block_diag(0.1 * torch.eye(70).double(), torch.zeros(1, 1).double())
    design = torch.cat([x, torch.ones(50, 1).double()], 1)
    expected = torch.linalg.solve(design.T @ design / 50 + ridge, design.T @ y / 50)
    torch.testing.assert_close(torch.cat([weights, bias]).detach(), expected, rtol=1e-7, atol=1e-9)


def test_newton_shortens_a_step_that_leads_too_far() -> None:
    # log(e^x + e^-x): without the line search Newton's method diverges from beyond 1.0886.
    weight = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    losses = solve("newton", [weight], lambda: torch.logaddexp(weight, -weight).sum(), 8)
    assert all(after <= before for before, after in pairwise(losses))
    assert abs(weight.item()) < 1e-6


def test_newtons_line_search_looks_at_weight_decay_too() -> None:
    w, decay, t = 2.2, 0.1, 1.0
    weight = torch.tensor([w], dtype=torch.float64, requires_grad=True)
    solve("newton", [weight], lambda: torch.logaddexp(weight, -weight).sum(), 1, weight_decay=decay)

    def value(w: float) -> float:
        return np.logaddexp(w, -w) + decay / 2 * w**2

    slope, curvature = math.tanh(w) + decay * w, 1 - math.tanh(w) ** 2 + decay
    while value(w - t * slope / curvature) > value(w) - 0.1 * t * slope**2 / curvature:
        t /= 2
    assert t == 0.25  # 0.5 would do for the loss alone
    assert weight.item() == pytest.approx(w - t * slope / curvature)


def test_newton_walks_downhill_where_the_hessian_is_not_positive() -> None:
    weight = torch.tensor([0.1], dtype=torch.float64, requires_grad=True)
    slope, curvature, damping = 4 * 0.1**3 - 2 * 0.1, 12 * 0.1**2 - 2, 10 * 2**-52 * 1.88
    while curvature + damping <= 0:
        damping *= 10
    solve("newton", [weight], lambda: (weight**4 - weight**2).sum(), 1)
    assert weight.item() == pytest.approx(0.1 - slope / (curvature + damping))
    solve("newton", [weight], lambda: (weight**4 - weight**2).sum(), 12)
    assert weight.item() == pytest.approx(math.sqrt(0.5))


def test_newton_works_on_a_loss_without_curvature() -> None:
    weight = torch.tensor([3.0], requires_grad=True)
    losses = solve("newton", [weight], lambda: (weight - 1).abs().sum(), 30)
    assert losses[-1] < losses[0]


def test_newton_leaves_a_lost_loss_alone() -> None:
    weight = torch.tensor([3.0], requires_grad=True)
    solve("newton", [weight], lambda: (weight - 5).sqrt().sum(), 2)
    assert weight.item() == 3.0


def test_newton_keeps_direction_downhill_where_rates_differ() -> None:
    # With the rates from one side only, the direction from here would lead uphill.
    pull = torch.tensor([[1.0, 0.99], [0.99, 1.0]])
    first, second = torch.tensor([1.0], requires_grad=True), torch.tensor([-0.5], requires_grad=True)
    groups = [{"params": [first], "lr": 0.1}, {"params": [second]}]
    losses = solve("newton", groups, lambda: (pull @ torch.cat([first, second])) @ torch.cat([first, second]), 40)
    assert all(after < before for before, after in pairwise(losses))
    assert losses[-1] < 0.2 * losses[0]


def test_newton_refuses_what_it_cannot_hold() -> None:
    build("optimizer", "newton")([torch.zeros(8000, requires_grad=True)])
    with pytest.raises(UserError, match=r"at most 8,000 weights, and the model has 8,001; optimizer=lbfgs"):
        build("optimizer", "newton")([torch.zeros(8000, requires_grad=True), torch.zeros(1, requires_grad=True)])


@pytest.mark.parametrize("name", ["newton", "lbfgs"])
@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logistic_regression_against_sklearn(name: str, count: int, dtype: torch.dtype) -> None:
    x, y = classes(count)
    reference = LogisticRegression(C=1 / (0.02 * len(x)), fit_intercept=False, tol=1e-10, max_iter=1000).fit(x, y)
    data, target = torch.tensor(x, dtype=dtype), torch.tensor(y)
    weights = torch.zeros(1 if count == 2 else count, 4, dtype=dtype, requires_grad=True)

    def loss() -> Tensor:
        logits = data @ weights.T
        if count == 2:
            return F.binary_cross_entropy_with_logits(logits[:, 0], target.to(dtype))
        return F.cross_entropy(logits, target)

    solve(name, [weights], loss, 14, weight_decay=0.02)
    allowed = 1e-6 if (name, dtype) == ("newton", torch.float64) else 2e-4
    np.testing.assert_allclose(weights.detach().numpy(), reference.coef_, atol=allowed)


def test_newton_takes_the_last_steps_that_rounding_hides() -> None:
    x, y = classes(3)
    data, target, calls = torch.tensor(x, dtype=torch.float32), torch.tensor(y), []
    weights = torch.zeros(3, 4, requires_grad=True)

    def loss() -> Tensor:
        calls.append(1)
        return F.cross_entropy(data @ weights.T, target)

    solve("newton", [weights], loss, 10, weight_decay=1e-3)
    assert len(calls) == 20  # derivatives and one trial a step
    (gradient,) = torch.autograd.grad(loss() + 5e-4 * weights.square().sum(), weights)
    assert gradient.norm() < 1e-6


def test_newton_needs_no_weight_decay_where_the_optimum_is_a_line() -> None:
    # Softmax regression: the same added to all classes' weights changes nothing, so the Hessian is singular.
    x, y = classes(3)
    layer, data, target = nn.Linear(4, 3), torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    solve("newton", list(layer.parameters()), lambda: F.cross_entropy(layer(data), target), 14)
    reference = LogisticRegression(C=math.inf, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(layer(data).softmax(1).detach().numpy(), reference.predict_proba(x), atol=1e-4)


def test_lbfgs_against_torch() -> None:
    (ours,), (theirs,) = twins((4, 4))
    data, target = (torch.tensor(values) for values in classes(4))
    data = data.float()
    settings = {"history": 3, "iterations": 4, "weight_decay": 0.1, "lr": 0.5}
    solve("lbfgs", [ours], lambda: F.cross_entropy(data @ ours.T, target), 3, **settings)
    optimizer = torch.optim.LBFGS(
        [theirs], lr=0.5, max_iter=4, max_eval=29, history_size=3, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(data @ theirs.T, target) + 0.05 * theirs.square().sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_lbfgs_takes_all_parameters_alike() -> None:
    network = nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"optimizer\.decay=all and optimizer\.layer_decay=1"):
        build("optimizer", "lbfgs")(OptimizerSettings(decay="weights").groups(network, 1.0))
    build("optimizer", "lbfgs")(OptimizerSettings().groups(network, 1.0))


def test_lbfgs_stays_where_the_rate_is_0() -> None:
    problem = Problem("lbfgs")
    before = problem.weights
    problem.optimizer.param_groups[0]["lr"] = 0.0
    problem.step()
    assert all(torch.equal(old, new) for old, new in zip(before, problem.weights, strict=True))
