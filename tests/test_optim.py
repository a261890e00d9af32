import io
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression
from torch import Tensor, nn
from torch.optim import lr_scheduler

from dlzoo.errors import UserError
from dlzoo.optim.settings import Observer, OptimizerSettings, Span, Warmup, units
from dlzoo.registry import OPTIMIZERS, SCHEDULES, Entry
from dlzoo.zoo import build, build_model

SPAN = Span(steps=1000, steps_per_epoch=10)

FIRST_ORDER = [name for name in OPTIMIZERS.names() if OPTIMIZERS[name].meta.get("clip", True)]


# Schedules


def schedule(name: str, **knobs: object) -> list[float]:
    factor = build("schedule", name, **knobs)(SPAN)
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
    ("name", "knobs", "kind", "settings"),
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
def test_schedules_against_torch(name: str, knobs: Any, kind: Any, settings: Any) -> None:
    np.testing.assert_allclose(schedule(name, **knobs), of_torch(kind, **settings), rtol=1e-9, atol=1e-12)


def test_one_cycle_at_its_limits() -> None:
    assert schedule("one_cycle", peak=0.0, final=0.0, anneal="linear")[0] == 1
    assert schedule("one_cycle", peak=100.0, start=0.5)[-1] == pytest.approx(4e-6)
    for knobs in ({"peak": 101.0}, {"peak": 0.6, "three_phase": True}):
        with pytest.raises(UserError, match=r"schedule\.peak=.* which is 1000 steps"):
            schedule("one_cycle", **knobs)


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
    follows = SCHEDULES[name].meta.get("validation", False)
    assert isinstance(bare, Observer) == isinstance(warmed, Observer) == follows


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_every_schedule_starts_and_ends_within_the_rate(name: str) -> None:
    assert all(0 <= factor <= 1 for factor in schedule(name))
    assert 0 <= build("schedule", name)(Span(steps=1, steps_per_epoch=1))(0) <= 1


# Parameter groups


def test_the_rate_can_follow_the_batch() -> None:
    assert OptimizerSettings().effective_lr(0.1, 32) == 0.1
    assert OptimizerSettings(lr_reference_batch=256).effective_lr(0.1, 32) == 0.0125


def test_weight_decay_can_leave_norms_and_biases_out() -> None:
    network = build_model("resnet20", num_classes=10)
    (everything,) = OptimizerSettings().groups(network, 0.1)
    assert len(everything["params"]) == len(list(network.parameters()))
    decayed, spared = OptimizerSettings(decay="weights").groups(network, 0.1)
    optimizer = build("optimizer", "sgd", weight_decay=0.1)([decayed, spared])
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert {p.dim() for p in decayed["params"]} == {2, 4}
    norms = [module for module in network.modules() if type(module).__name__ == "BatchNorm"]
    assert len(spared["params"]) == 2 * len(norms) + 1  # the head's bias
    network.stages.requires_grad_(False)
    (trained,) = OptimizerSettings().groups(network, 0.1)
    assert len(trained["params"]) == 5  # the stem's weight, scale and shift; the head's weight and bias


class WithToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(3))
        self.body = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Sequential(nn.Linear(2, 3), nn.Bilinear(2, 2, 1)))
        self.head = nn.Linear(3, 1)


def test_layers_before_the_last_can_learn_more_slowly() -> None:
    network = WithToken()
    first, second, third, head = units(network)
    assert (second, head) == (network.body[2][0], network.head)
    groups = OptimizerSettings(layer_decay=0.5).groups(network, 0.8)
    assert [group["lr"] for group in groups] == pytest.approx([0.8, 0.4, 0.2, 0.1])
    expected = [head, third, second, first]
    for group, layer in zip(groups, expected, strict=True):
        assert {id(p) for p in layer.parameters()} <= {id(p) for p in group["params"]}
    assert network.token is groups[-1]["params"][0]  # what belongs to no layer learns like the first
    split = OptimizerSettings(layer_decay=0.5, decay="weights").groups(network, 0.8)
    assert [(g["lr"], g.get("weight_decay")) for g in split[:4]] == [(0.8, None), (0.8, 0.0), (0.4, None), (0.4, 0.0)]
    assert sum(len(group["params"]) for group in split) == len(list(network.parameters()))
    first.requires_grad_(False)
    assert units(network) == [second, third, head]
    resnet = build_model("resnet20", num_classes=10)
    assert len(units(resnet)) == 1 + 9 + 1  # stem, blocks, head


def test_layer_decay_is_a_rate_of_its_own_for_each_layer() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).double()
    before = [layer.weight.detach().clone() for layer in network]
    optimizer = build("optimizer", "sgd", lr=0.4, weight_decay=0.0)(
        OptimizerSettings(layer_decay=0.25).groups(network, 0.4)
    )
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for layer, old, rate in zip(network, before, (0.1, 0.4), strict=True):
        torch.testing.assert_close(layer.weight, old - rate)


# Every optimizer

#: Where the default is too small for 300 steps, or the paper's rate is for a loss of another kind.
RATES = {"adagrad": 0.5, "adadelta": 3.0, "rmsprop": 0.05, "adam": 0.05, "adamw": 0.05, "nadam": 0.05, "radam": 0.05}
RATES |= {"lion": 0.02, "muon": 0.05}


class Problem:
    """Least squares with a matrix, a kernel and biases; `step` is what the task does."""

    def __init__(self, name: str, decoupled: bool | None = None, l1: float = 0.0, **knobs: object) -> None:
        generator = torch.Generator().manual_seed(0)
        self.layer, self.x = nn.Linear(4, 3), torch.randn(64, 4, generator=generator)
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
        self.y = self.x @ torch.randn(4, 3, generator=generator) + 1
        self.name = name
        self.optimizer = build("optimizer", name, **knobs)(list(self.layer.parameters()))
        self.regulariser = OptimizerSettings(decoupled=decoupled, l1=l1).regulariser(name)
        if self.regulariser:
            self.regulariser.claim(self.optimizer)

    def loss(self) -> Tensor:
        return (self.layer(self.x) - self.y).square().mean()

    def closure(self, create_graph: bool = False) -> Tensor:
        if create_graph:
            return self.loss()
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        if self.regulariser:
            self.regulariser.before_step()
        return loss.detach()

    def step(self) -> float:
        if OPTIMIZERS[self.name].meta.get("closure"):
            self.optimizer.step(self.closure)
        else:
            self.closure()
            self.optimizer.step()
        if self.regulariser:
            self.regulariser.after_step()
        return self.loss().item()

    @property
    def weights(self) -> list[Tensor]:
        return [parameter.detach().clone() for parameter in self.layer.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_descends(name: str) -> None:
    problem = Problem(name, weight_decay=0.0, **({"lr": RATES[name]} if name in RATES else {}))
    first = problem.loss().item()
    assert [problem.step() for _ in range(300)][-1] < 0.01 * first


@pytest.mark.parametrize(
    ("name", "extra"),
    [(name, {}) for name in OPTIMIZERS.names()]
    + [(name, {"decoupled": decoupled, "l1": 0.01}) for name in FIRST_ORDER for decoupled in (True, False)],
)
def test_every_optimizer_goes_on_where_it_stopped(name: str, extra: dict[str, Any]) -> None:
    # A single iteration a step, or L-BFGS is at the optimum, and done, before it is interrupted.
    knobs = {"weight_decay": 0.1} | ({"iterations": 1, "history": 2} if name == "lbfgs" else {})
    whole = Problem(name, **extra, **knobs)
    for _ in range(3):
        whole.step()
    torch.save({"optimizer": whole.optimizer.state_dict(), "layer": whole.layer.state_dict()}, file := io.BytesIO())
    file.seek(0)
    saved, resumed = torch.load(file, weights_only=True), Problem(name, **extra, **knobs)
    resumed.layer.load_state_dict(saved["layer"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    for _ in range(2):
        assert whole.step() == resumed.step()
    for ours, theirs in zip(whole.weights, resumed.weights, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_says_its_formula(name: str) -> None:
    assert "=" in OPTIMIZERS[name].doc.splitlines()[0]
    assert {"lr", "weight_decay"} <= set(OPTIMIZERS[name].knobs)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.names() if name not in FIRST_ORDER])
def test_what_works_beside_a_step_is_refused_where_a_step_is_the_whole_of_it(name: str) -> None:
    assert OptimizerSettings().regulariser(name) is None
    for settings in (OptimizerSettings(l1=0.1), OptimizerSettings(decoupled=False)):
        with pytest.raises(UserError, match=rf"optimizer={name} minimises .* leave optimizer\.(l1|decoupled) out"):
            settings.regulariser(name)


# Three steps, by the papers' algorithms

LR, DECAY = 0.1, 0.01
W0 = np.array([[0.5, -1.0, 2.0], [0.3, 0.0, -0.7]])
GRADIENTS = [np.array([[0.1, -2.0, 0.3], [1.0, 0.5, -0.4]]) * scale for scale in (1.0, -0.5, 2.0)]


def by_hand(update: Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray], rounds: int = 1) -> np.ndarray:
    weights, state = W0.copy(), {key: np.zeros_like(W0) for key in "mvsu"}
    for t, gradient in enumerate(list(GRADIENTS) * rounds, 1):
        weights = update(weights, gradient, state, t)
    return weights


def by_ours(name: str, rounds: int = 1, **knobs: object) -> np.ndarray:
    weights = torch.tensor(W0, requires_grad=True)
    optimizer = build("optimizer", name, lr=LR, weight_decay=DECAY, **knobs)([weights])
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


# Newton and L-BFGS


def solve(name: str, params: Any, loss: Callable[[], Tensor], steps: int, **knobs: object) -> list[float]:
    """The losses before each of `steps` steps."""
    optimizer = build("optimizer", name, **knobs)(params)

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
    with pytest.raises(UserError, match=r"at most 8,000, and here are 8,001; optimizer=lbfgs"):
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
    knobs = {"history": 3, "iterations": 4, "weight_decay": 0.1, "lr": 0.5}
    solve("lbfgs", [ours], lambda: F.cross_entropy(data @ ours.T, target), 3, **knobs)
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


# Weight decay of either kind, and L1


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

    monkeypatch.setitem(OPTIMIZERS._entries, "bare", Entry("optimizer", "bare", bare, source="a plug-in"))
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
