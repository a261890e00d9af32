"""First-order optimizers against their papers' algorithms, worked out step by step."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlzoo.builder.model import build
from dlzoo.core.errors import UserError
from dlzoo.optim.settings import OptimizerSettings
from tests.optim.test_optimizers import Problem

LR, DECAY = 0.1, 0.01
W0 = np.array([[0.5, -1.0, 2.0], [0.3, 0.0, -0.7]])
GRADIENTS = [np.array([[0.1, -2.0, 0.3], [1.0, 0.5, -0.4]]) * scale for scale in (1.0, -0.5, 2.0)]


def by_hand(update: Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray], rounds: int = 1) -> np.ndarray:
    weights, state = W0.copy(), {key: np.zeros_like(W0) for key in "mvsu"}
    for t, gradient in enumerate(list(GRADIENTS) * rounds, 1):
        weights = update(weights, gradient, state, t)
    return weights


def by_ours(name: str, rounds: int = 1, **settings: object) -> np.ndarray:
    weights = torch.tensor(W0, requires_grad=True)
    optimizer = build("optimizer", name, lr=LR, weight_decay=DECAY, **settings)([weights])
    for gradient in list(GRADIENTS) * rounds:
        weights.grad = torch.tensor(gradient)
        optimizer.step()
    return weights.detach().numpy()


def momentum_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["v"] = 0.9 * s["v"] + g
    return w - LR * s["v"]


def nesterov_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["v"] = 0.9 * s["v"] + g
    return w - LR * (g + 0.9 * s["v"])


def adagrad_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["s"] = s["s"] + g**2
    return w - LR * g / (np.sqrt(s["s"]) + 1e-10)


def adadelta_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["s"] = 0.95 * s["s"] + 0.05 * g**2
    d = np.sqrt(s["u"] + 1e-6) / np.sqrt(s["s"] + 1e-6) * g
    s["u"] = 0.95 * s["u"] + 0.05 * d**2
    return w - LR * d


def rmsprop_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["s"] = 0.9 * s["s"] + 0.1 * g**2
    return w - LR * g / (np.sqrt(s["s"]) + 1e-8)


def adam_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    g = g + DECAY * w
    s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g**2
    return w - LR * s["m"] / (1 - 0.9**t) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def nadam_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    mu, after = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * n)) for n in (t, t + 1))
    g = g + DECAY * w
    s["product"] = s.get("product", 1.0) * mu
    s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, 0.999 * s["v"] + 0.001 * g**2
    m = after * s["m"] / (1 - s["product"] * after) + (1 - mu) * g / (1 - s["product"])
    return w - LR * m / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-8)


def radam_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int, beta2: float = 0.999) -> np.ndarray:
    g = g + DECAY * w
    s["m"], s["v"] = 0.9 * s["m"] + 0.1 * g, beta2 * s["v"] + (1 - beta2) * g**2
    m, most = s["m"] / (1 - 0.9**t), 2 / (1 - beta2) - 1
    length = most - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return w - LR * m
    root = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    return w - LR * m * math.sqrt(root) * math.sqrt(1 - beta2**t) / (np.sqrt(s["v"]) + 1e-8)


def adamw_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    return adam_step(w, g - DECAY * w, s, t) - LR * DECAY * w


def lion_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    c = 0.9 * s["m"] + 0.1 * g
    s["m"] = 0.99 * s["m"] + 0.01 * g
    return w - LR * (np.sign(c) + DECAY * w)


def newton_schulz(x: np.ndarray) -> np.ndarray:
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def muon_step(w: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    s["m"] = 0.95 * s["m"] + 0.05 * g
    update = newton_schulz(0.95 * s["m"] + 0.05 * g)
    return w - LR * (0.2 * math.sqrt(max(w.shape)) * update + DECAY * w)


@pytest.mark.parametrize(
    ("name", "update"),
    [
        ("sgd", lambda w, g, s, t: w - LR * (g + DECAY * w)),
        ("momentum", momentum_step),
        ("nesterov", nesterov_step),
        ("adagrad", adagrad_step),
        ("adadelta", adadelta_step),
        ("rmsprop", rmsprop_step),
        ("adam", adam_step),
        ("adamw", adamw_step),
        ("nadam", nadam_step),
        ("radam", radam_step),
        ("lion", lion_step),
        ("muon", muon_step),
    ],
)
def test_three_steps_by_hand(name: str, update: Any) -> None:
    # torch keeps nadam's product of momenta in float32.
    np.testing.assert_allclose(by_ours(name), by_hand(update), rtol=1e-6 if name == "nadam" else 1e-9)


def test_radam_rectifies_from_the_sixth_step_on() -> None:
    np.testing.assert_allclose(by_ours("radam", rounds=4), by_hand(radam_step, rounds=4), rtol=1e-9)
    assert not np.allclose(by_ours("radam", rounds=4), by_ours("adam", rounds=4))


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(UserError, match=r"needs optimizer\.momentum"):
        build("optimizer", "nesterov", momentum=0.0)([torch.zeros(1, requires_grad=True)])


# Muon


def twins(*shapes: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    values = [torch.randn(shape, generator=torch.Generator().manual_seed(index)) for index, shape in enumerate(shapes)]
    first, second = ([value.clone().requires_grad_() for value in values] for _ in range(2))
    return first, second


def test_muon_against_torch() -> None:
    ours, theirs = twins((8, 5), (5, 8), (8, 5), (3,), (1, 7))
    optimizer = build("optimizer", "muon", lr=0.01, weight_decay=0.1, adamw_lr_scale=0.5, adamw_beta2=0.9)(ours)
    matrices = [parameter for parameter in theirs if parameter.dim() == 2]
    references = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([theirs[3]], lr=0.005, betas=(0.9, 0.9), weight_decay=0.1),
    ]
    before = [parameter.detach().clone() for parameter in ours]
    for step in range(3):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            generator = torch.Generator().manual_seed(100 * step + index)
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        for each in (optimizer, *references):
            each.step()
    for mine, other, old in zip(ours, theirs, before, strict=True):
        # torch's iterations are in bfloat16, which has 8 bits.
        allowed = 0.02 if mine.dim() == 2 else 1e-5
        assert (mine - other).norm() <= allowed * (other - old).norm()


def test_muon_sees_a_kernel_as_a_matrix_of_outputs_by_inputs() -> None:
    (kernel,), (matrix,) = twins((6, 4, 3, 3))
    kernel = kernel.detach().to(memory_format=torch.channels_last).requires_grad_()
    matrix = matrix.detach().flatten(1).requires_grad_()
    optimizers = [build("optimizer", "muon", lr=0.1)([parameter]) for parameter in (kernel, matrix)]
    for _ in range(2):
        kernel.grad = torch.randn(kernel.shape)
        matrix.grad = kernel.grad.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(kernel.flatten(1), matrix)


def test_muon_makes_updates_orthogonal_and_as_large_as_adams() -> None:
    (tall,), (wide,) = twins((40, 12))
    wide = wide.detach().T.contiguous().requires_grad_()
    for parameter in (tall, wide):
        before = parameter.detach().clone()
        parameter.grad = parameter.detach().clone()
        build("optimizer", "muon", lr=1.0, weight_decay=0.0)([parameter]).step()
        update = before - parameter.detach()
        assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.2)
        values = torch.linalg.svdvals(update) / (0.2 * math.sqrt(40))
        assert 0.6 < values.min() < values.max() < 1.3


def test_muon_splits_groups_and_keeps_their_rates() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    groups = OptimizerSettings(layer_decay=0.5, decay="weights").groups(network, 0.1)
    optimizer = build("optimizer", "muon", lr=0.1, weight_decay=0.3, adamw_lr_scale=0.1)(groups)
    found = [(g["params"][0].dim(), round(g["lr"], 6), g["weight_decay"]) for g in optimizer.param_groups]
    assert found == [(2, 0.1, 0.3), (1, 0.01, 0.0), (2, 0.05, 0.3), (1, 0.005, 0.0)]


# SAM


def test_sam_by_hand() -> None:
    curvature, w, v = np.array([1.0, 4.0, 0.5]), np.array([1.0, -0.5, 2.0]), np.zeros(3)
    weights = torch.tensor(w, requires_grad=True)
    first, second = weights.detach()[:1].clone().requires_grad_(), weights.detach()[1:].clone().requires_grad_()
    optimizer = build("optimizer", "sam", lr=0.1, rho=0.3, momentum=0.8, weight_decay=0.05)(
        [{"params": [first]}, {"params": [second], "lr": 0.02}]
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (torch.tensor(curvature) * torch.cat([first, second]).pow(4)).sum() / 4
        loss.backward()
        return loss.detach()

    for _ in range(3):
        gradient = curvature * w**3
        there = w + 0.3 * gradient / np.linalg.norm(gradient)
        v = 0.8 * v + curvature * there**3 + 0.05 * w
        expected = (curvature * w**4).sum() / 4
        w = w - np.array([0.1, 0.02, 0.02]) * v
        assert optimizer.step(closure).item() == pytest.approx(expected)
    np.testing.assert_allclose(torch.cat([first, second]).detach().numpy(), w, rtol=1e-10)


def test_sam_without_a_radius_is_momentum() -> None:
    sam, momentum = Problem("sam", rho=0.0, weight_decay=0.1), Problem("momentum", weight_decay=0.1)
    for _ in range(5):
        assert sam.step() == pytest.approx(momentum.step(), rel=1e-5)


def test_sam_stays_where_there_is_no_gradient() -> None:
    weights = torch.ones(3, requires_grad=True)
    optimizer = build("optimizer", "sam", weight_decay=0.0)([weights])

    def closure() -> Tensor:
        optimizer.zero_grad()
        (0 * weights).sum().backward()
        return torch.zeros(())

    optimizer.step(closure)
    assert torch.equal(weights, torch.ones(3))
