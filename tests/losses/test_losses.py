"""Each loss against an independent reference, its limits, and what every loss must bear."""

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops as ops
from sklearn import metrics
from torch import Tensor, nn

from dlzoo.builder.model import build_loss
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES

Loss = Callable[[Tensor, Tensor], Tensor]

CLASSIFIERS = [name for name in LOSSES.names() if "classification" in LOSSES[name].marks.targets]
REGRESSORS = [name for name in LOSSES.names() if "regression" in LOSSES[name].marks.targets]
SOFT = [name for name in LOSSES.names() if LOSSES[name].marks.soft]
OF_ONE_SCORE = [
    *("bce", "dice", "exponential", "hinge", "huber", "l1", "mse", "perceptron", "smooth_l1", "tversky", "zero_one"),
]

WEIGHTS = [1.0, 2.0, 0.5, 0.0, 1.5]


def scores(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(high: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def value_and_gradient(loss: Loss, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    input = input.detach().clone().requires_grad_()
    value = loss(input, target)
    (gradient,) = torch.autograd.grad(value, input)
    return value.detach(), gradient


def assert_same(loss: Loss, reference: Loss, input: Tensor, target: Tensor, atol: float = 1e-9) -> None:
    expected = value_and_gradient(reference, input, target)
    assert expected[1].abs().max() > 0
    torch.testing.assert_close(value_and_gradient(loss, input, target), expected, rtol=1e-6, atol=atol)


def rows(f: Tensor, t: Tensor) -> Tensor:
    return F.one_hot(t, f.shape[1]).to(f.dtype)


def signs(f: Tensor, t: Tensor) -> Tensor:
    return 2 * rows(f, t) - 1


def p_right(f: Tensor, t: Tensor) -> Tensor:
    return (f.exp() / f.exp().sum(1, keepdim=True))[torch.arange(len(t)), t]


def mean_over(function: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The mean over samples of function(right score, wrong scores)."""

    def loss(f: Tensor, t: Tensor) -> Tensor:
        samples = zip(f, t.tolist(), strict=True)
        return torch.stack([function(row[k], torch.cat((row[:k], row[k + 1 :]))) for row, k in samples]).mean()

    return loss


def v_net(f: Tensor, t: Tensor) -> Tensor:
    p, parts = F.softmax(f, 1), []
    for k in range(f.shape[1]):
        g = (t == k).to(f.dtype)
        parts.append((2 * p[:, k] @ g + 0.5) / (p[:, k] @ p[:, k] + g @ g + 0.5))
    return 1 - torch.stack(parts).mean()


def tversky(f: Tensor, t: Tensor) -> Tensor:
    """Equation 2 of the paper for each class, alpha = 0.2, beta = 0.9, smoothed by 0.5."""
    p, parts = F.softmax(f, 1), []
    for k in range(f.shape[1]):
        inside, outside = p[t == k, k], p[t != k, k]
        hits = inside.sum() + 0.5
        parts.append(hits / (hits + 0.2 * outside.sum() + 0.9 * (len(inside) - inside.sum())))
    return 1 - torch.stack(parts).mean()


def lovasz(f: Tensor, t: Tensor) -> Tensor:
    """The integral over levels of 1 - IoU, if all whose error is at least the level are wrong."""
    p, losses = F.softmax(f, 1), []
    for k in t.unique().tolist():
        right = t == k
        errors = torch.where(right, 1 - p[:, k], p[:, k])
        levels = torch.cat((errors.new_zeros(1), errors.sort().values))
        parts = []
        for low, high in pairwise(levels):
            wrong = errors >= high
            parts.append((high - low) * wrong.double().sum() / (right | wrong).double().sum())
        losses.append(torch.stack(parts).sum())
    return torch.stack(losses).mean()


#: name, settings, the same written another way: logits (N, K), target (N,).
OF_CLASSES: list[tuple[str, dict, Loss]] = [
    ("nll", {}, lambda f, t: -p_right(f, t).log().mean()),
    ("cross_entropy", {}, lambda f, t: -p_right(f, t).log().mean()),
    ("bce", {}, lambda f, t: F.softplus(-signs(f, t) * f).mean()),
    ("mse", {}, lambda f, t: (f - rows(f, t)).pow(2).mean()),
    ("mse", {"link": "sigmoid"}, lambda f, t: (1 / (1 + (-f).exp()) - rows(f, t)).pow(2).mean()),
    ("mse", {"link": "softmax"}, lambda f, t: (F.softmax(f, 1) - rows(f, t)).pow(2).mean()),
    ("l1", {}, lambda f, t: (2 - 2 * p_right(f, t)).mean() / f.shape[1]),
    ("l1", {"link": "identity"}, lambda f, t: F.l1_loss(f, rows(f, t))),
    ("smooth_l1", {"beta": 0.3}, lambda f, t: nn.SmoothL1Loss(beta=0.3)(f, rows(f, t))),
    ("huber", {"delta": 0.3}, lambda f, t: nn.HuberLoss(delta=0.3)(f, rows(f, t))),
    ("perceptron", {}, mean_over(lambda right, wrong: F.relu(wrong.max() - right))),
    ("perceptron", {"tolerance": 0.7}, mean_over(lambda right, wrong: F.relu(wrong.max() - right - 0.7))),
    ("hinge", {"margin": 0.7}, mean_over(lambda right, wrong: F.relu(0.7 + wrong.max() - right))),
    ("hinge", {"squared": True}, mean_over(lambda right, wrong: F.relu(1 + wrong.max() - right) ** 2)),
    ("hinge", {"form": "weston_watkins"}, lambda f, t: f.shape[1] * F.multi_margin_loss(f, t)),
    (
        "hinge",
        {"form": "weston_watkins", "squared": True, "margin": 2.0},
        lambda f, t: f.shape[1] * F.multi_margin_loss(f, t, p=2, margin=2.0),
    ),
    ("hinge", {"form": "one_vs_rest"}, lambda f, t: F.relu(1 - signs(f, t) * f).mean()),
    ("exponential", {}, lambda f, t: torch.exp(-signs(f, t) * f).mean()),
    (
        "exponential",
        {"form": "samme"},
        mean_over(lambda right, wrong: torch.exp((wrong.mean() - right) / (len(wrong) + 1))),
    ),
    ("focal", {}, lambda f, t: -((1 - p_right(f, t)) ** 2 * p_right(f, t).log()).mean()),
    (
        "focal",
        {"gamma": 0.5, "alpha": WEIGHTS},
        lambda f, t: (-f.new_tensor(WEIGHTS)[t] * (1 - p_right(f, t)) ** 0.5 * p_right(f, t).log()).mean(),
    ),
    (
        "focal",
        {"form": "sigmoid", "gamma": 1.5, "alpha": 0.25},
        lambda f, t: ops.sigmoid_focal_loss(f, rows(f, t), alpha=0.25, gamma=1.5, reduction="mean"),
    ),
    ("dice", {"smooth": 0.5}, v_net),
    ("tversky", {"alpha": 0.2, "beta": 0.9, "smooth": 0.5}, tversky),
    ("lovasz", {}, lovasz),
    (
        "sum",
        {"of": ["cross_entropy", "bce", "mse"], "weights": [0.5, 0.0, 2.0]},
        lambda f, t: 2 * (f - rows(f, t)).pow(2).mean() - p_right(f, t).log().mean() / 2,
    ),
]

LEARNING = [name for name in CLASSIFIERS if LOSSES[name].marks.learns]


def test_every_loss_of_classes_that_learns_has_a_reference() -> None:
    assert set(LEARNING) == {name for name, _, _ in OF_CLASSES}


@pytest.mark.parametrize(("name", "settings", "reference"), OF_CLASSES)
def test_losses_of_classes(name: str, settings: dict, reference: Loss) -> None:
    assert_same(build_loss(name, **settings), reference, scores(24, 5), labels(5, 24))


def test_cross_entropy_against_its_formula() -> None:
    logits, target = scores(16, 5), labels(5, 16)
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    plain = -log_p[torch.arange(16), target]
    smooth = 0.8 * plain - 0.2 * log_p.mean(1)
    torch.testing.assert_close(build_loss("cross_entropy", label_smoothing=0.2)(logits, target), smooth.mean())
    w = torch.tensor(WEIGHTS, dtype=torch.float64)[target]
    weighted = build_loss("cross_entropy", class_weights=WEIGHTS)
    torch.testing.assert_close(weighted(logits, target), (w * plain).sum() / w.sum())
    assert not weighted.state_dict()
    soft = scores(16, 5, seed=3).softmax(1)
    torch.testing.assert_close(build_loss("cross_entropy")(logits, soft), -(soft * log_p).sum(1).mean())


@pytest.mark.parametrize("name", REGRESSORS)
def test_numbers_are_compared_as_they_are(name: str) -> None:
    numbers, targets = scores(20, 3), scores(20, 3, seed=5)
    reference = {"mse": nn.MSELoss(), "l1": nn.L1Loss(), "smooth_l1": nn.SmoothL1Loss(), "huber": nn.HuberLoss()}
    if name == "zero_one":
        wrong = [abs(a - b) >= 0.3 for a, b in zip(numbers.flatten().tolist(), targets.flatten().tolist(), strict=True)]
        assert 0 < sum(wrong) < 60
        assert build_loss(name, tolerance=0.3)(numbers, targets).item() == pytest.approx(sum(wrong) / 60)
    else:
        assert_same(build_loss(name), reference[name], numbers, targets)


def test_zero_one_counts_mistakes_and_teaches_nothing() -> None:
    logits, target = scores(50, 4), labels(4, 50)
    value, gradient = value_and_gradient(build_loss("zero_one"), logits, target)
    assert value.item() == pytest.approx(metrics.zero_one_loss(target, logits.argmax(1)))
    assert not gradient.any()


def test_hinge_against_sklearn() -> None:
    logits, target = scores(50, 4), labels(4, 50)
    assert build_loss("hinge")(logits, target).item() == pytest.approx(metrics.hinge_loss(target, logits.numpy()))
    binary = labels(2, 50)
    assert build_loss("hinge")(logits[:, 0], binary).item() == pytest.approx(
        metrics.hinge_loss(2 * binary - 1, logits[:, 0].numpy())
    )


#: scores (N,), target (N,) of 0 and 1, and y = 2 t - 1.
OF_SCORES: list[tuple[str, dict, Callable[[Tensor, Tensor, Tensor], Tensor]]] = [
    ("bce", {}, lambda f, t, y: F.binary_cross_entropy(f.sigmoid(), t)),
    ("exponential", {}, lambda f, t, y: (-y * f).exp().mean()),
    ("hinge", {"squared": True}, lambda f, t, y: F.relu(1 - y * f).square().mean()),
    ("perceptron", {"tolerance": 0.5}, lambda f, t, y: F.relu(-y * f - 0.5).mean()),
    ("mse", {"link": "sigmoid"}, lambda f, t, y: F.mse_loss(f.sigmoid(), t)),
    ("l1", {}, lambda f, t, y: F.l1_loss(f.sigmoid(), t)),
    ("smooth_l1", {}, lambda f, t, y: F.smooth_l1_loss(f, t)),
    ("huber", {}, lambda f, t, y: F.huber_loss(f, t)),
    ("focal", {"form": "sigmoid", "alpha": 0.3}, lambda f, t, y: ops.sigmoid_focal_loss(f, t, 0.3, reduction="mean")),
    (
        "dice",
        {},
        lambda f, t, y: 1 - (2 * (f.sigmoid() * t).sum() + 1) / (f.sigmoid().square().sum() + t.sum() + 1),
    ),
    (
        "tversky",
        {"alpha": 0.5, "beta": 0.5, "smooth": 0.5},
        lambda f, t, y: 1 - (2 * (f.sigmoid() * t).sum() + 1) / ((f.sigmoid() + t).sum() + 1),
    ),
]


@pytest.mark.parametrize(("name", "settings", "reference"), OF_SCORES)
@pytest.mark.parametrize("shape", [(30,), (30, 1), (6, 1, 5)])
def test_one_score_a_sample(name: str, settings: dict, reference: Callable, shape: tuple[int, ...]) -> None:
    def same(f: Tensor, t: Tensor) -> Tensor:
        return reference(f, t.to(f.dtype), 2 * t - 1)

    assert_same(build_loss(name, **settings), same, scores(*shape), labels(2, *shape))


def test_zero_one_of_one_score() -> None:
    f, t = scores(30), labels(2, 30)
    assert build_loss("zero_one")(f, t).item() == pytest.approx(metrics.zero_one_loss(t, f > 0))


@pytest.mark.parametrize(
    ("name", "settings", "limit"),
    [
        ("focal", {"gamma": 0.0}, build_loss("cross_entropy")),
        ("focal", {"gamma": 0.0, "form": "sigmoid"}, build_loss("bce")),
        ("nll", {}, build_loss("cross_entropy")),
        ("cross_entropy", {"label_smoothing": 0.0}, build_loss("focal", gamma=0)),
        ("smooth_l1", {"beta": 1e-12}, build_loss("l1", link="identity")),
        ("smooth_l1", {"beta": 0.0}, build_loss("l1", link="identity")),
        ("huber", {"delta": 1.0}, build_loss("smooth_l1", beta=1.0)),
        ("huber", {"delta": 1e6}, lambda f, t: build_loss("mse")(f, t) / 2),
        ("hinge", {"margin": 1e-12}, build_loss("perceptron")),
    ],
)
def test_limits(name: str, settings: dict, limit: Loss) -> None:
    assert_same(build_loss(name, **settings), limit, scores(24, 5), labels(5, 24))


@pytest.mark.parametrize(
    ("name", "settings", "times"),
    [
        ("hinge", {}, 1.0),
        ("hinge", {"form": "weston_watkins"}, 1.0),
        ("perceptron", {}, 1.0),
        ("exponential", {"form": "samme"}, 0.5),
    ],
)
def test_two_classes_are_the_difference_of_their_scores(name: str, settings: dict, times: float) -> None:
    loss = build_loss(name, **settings)
    assert_same(loss, lambda f, t: loss(times * (f[:, 1] - f[:, 0]), t), scores(20, 2), labels(2, 20))


def test_the_likelihood_of_two_classes_is_that_of_their_difference() -> None:
    bce = build_loss("bce")
    assert_same(build_loss("nll"), lambda f, t: bce(f[:, 1] - f[:, 0], t), scores(20, 2), labels(2, 20))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("bce", {}), ("focal", {"form": "sigmoid"}), ("hinge", {"form": "one_vs_rest"}), ("exponential", {})],
)
def test_a_class_against_the_rest_is_one_score(name: str, settings: dict) -> None:
    loss = build_loss(name, **settings)
    assert_same(loss, lambda f, t: loss(f, F.one_hot(t, 5)), scores(20, 5), labels(5, 20))
    opposite = torch.stack((-scores(20), scores(20)), 1)
    torch.testing.assert_close(loss(opposite, labels(2, 20)), loss(scores(20), labels(2, 20)))


def test_samme_can_vanish_without_telling_two_classes_apart() -> None:
    logits = torch.tensor([[50.0, 50.0, -50.0, -50.0, -50.0]])
    losses = [
        build_loss("exponential", form=form)(logits, torch.tensor([1])).item() for form in ("samme", "one_vs_rest")
    ]
    assert losses[0] < 1e-6 < 1 < losses[1]


def test_the_exponential_goes_on_as_a_line() -> None:
    loss = build_loss("exponential", max_exponent=2.0)
    one = torch.tensor([1])
    value, slope = value_and_gradient(loss, torch.tensor([-5.0]), one)
    assert value.item() == pytest.approx(math.exp(2) * 4, rel=1e-6)
    assert slope.item() == pytest.approx(-math.exp(2), rel=1e-6)
    assert loss(torch.tensor([-2.0]), one).item() == pytest.approx(math.exp(2), rel=1e-6)


def test_cross_entropy_cures_the_slow_start_of_mse_after_a_sigmoid() -> None:
    logits, target = torch.tensor([-8.0]), torch.tensor([1])
    _, slow = value_and_gradient(build_loss("mse", link="sigmoid"), logits, target)
    _, quick = value_and_gradient(build_loss("bce"), logits, target)
    assert -1e-3 < slow.item() < 0
    assert quick.item() < -0.99


def test_the_perceptron_learns_from_a_network_of_zeros() -> None:
    value, gradient = value_and_gradient(build_loss("perceptron"), torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))
    assert value.item() == 0
    assert (gradient.gather(1, torch.tensor([[0], [1], [2], [0]])) < 0).all()


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("shape", [(12, 5), (2, 5, 3, 2)])
def test_one_hot_probabilities_are_class_indices(name: str, shape: tuple[int, ...]) -> None:
    logits, target = scores(*shape), labels(5, shape[0], *shape[2:])
    probabilities = F.one_hot(target, 5).movedim(-1, 1).float()
    settings = [{}, {"class_weights": WEIGHTS, "label_smoothing": 0.1}] if name == "cross_entropy" else [{}]
    settings += [{"alpha": WEIGHTS}, {"form": "sigmoid", "alpha": 0.3}] if name == "focal" else []
    for chosen in settings:
        loss = build_loss(name, **chosen)
        assert_same(lambda f, _, loss=loss: loss(f, probabilities), loss, logits, target)


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal"])
def test_a_mix_of_targets_costs_the_mix_of_their_costs(name: str) -> None:
    logits, first, second = scores(12, 5), labels(5, 12), labels(5, 12, seed=2)
    loss = build_loss(name)

    def mixed(f: Tensor, t: Tensor) -> Tensor:
        return loss(f, 0.3 * rows(f, first) + 0.7 * rows(f, t))

    assert_same(mixed, lambda f, t: 0.3 * loss(f, first) + 0.7 * loss(f, t), logits, second)


def test_dice_is_least_at_the_probabilities_themselves() -> None:
    soft = scores(12, 5).softmax(1)
    value, gradient = value_and_gradient(build_loss("dice"), soft.log(), soft)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_maps_are_many_samples(name: str) -> None:
    maps, target = scores(2, 5, 3, 4), labels(5, 2, 3, 4)
    loss = build_loss(name)
    flat = loss(maps.movedim(1, -1).reshape(-1, 5), target.flatten())
    torch.testing.assert_close(loss(maps, target), flat)


def extreme_logits() -> Tensor:
    return 1e4 * (labels(3, 32, 5).float() - 1)


def bears(loss: nn.Module, input: Tensor, target: Tensor) -> None:
    """Finite in every precision, the same in half as in single, and never looking at a number on the way."""
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        rounded = input.to(dtype)
        value, gradient = value_and_gradient(loss, rounded, target)
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert value.isfinite()
        assert gradient.isfinite().all()
        if dtype != torch.float64:
            of_single = value_and_gradient(loss, rounded.float(), target)
            torch.testing.assert_close((value, gradient), (of_single[0], of_single[1].to(dtype)), rtol=1e-6, atol=0)
    # Whatever would make the host wait for a GPU cannot be done without numbers.
    value, gradient = value_and_gradient(deepcopy(loss).to("meta"), input.to("meta"), target.to("meta"))
    assert (value.shape, gradient.shape) == ((), input.shape)


VARIANTS: list[tuple[str, dict]] = [
    *((name, {}) for name in CLASSIFIERS),
    *((name, settings) for name, settings, _ in OF_CLASSES if settings),
    *(("focal", {"form": form, "gamma": gamma}) for form in ("softmax", "sigmoid") for gamma in (0.0, 0.1, 5.0)),
    *((name, {"link": "sigmoid"}) for name in ("l1", "smooth_l1", "huber")),
    ("hinge", {"form": "one_vs_rest", "squared": True}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_extreme_logits(name: str, settings: dict) -> None:
    loss, target = build_loss(name, **settings), labels(5, 32)
    for logits in (extreme_logits(), torch.zeros(32, 5), scores(32, 5)):
        bears(loss, logits, target)
        if name in SOFT:
            bears(loss, logits, scores(32, 5, seed=3).softmax(1).float())
        if settings.get("form") == "sigmoid" or (name in OF_ONE_SCORE and settings.get("link") != "softmax"):
            bears(loss, logits[:, 0], labels(2, 32))


@pytest.mark.parametrize("name", REGRESSORS)
def test_extreme_numbers(name: str) -> None:
    bears(build_loss(name), extreme_logits(), -extreme_logits())
    bears(build_loss(name), extreme_logits(), extreme_logits())


@pytest.mark.parametrize(
    ("name", "settings", "input", "target", "says"),
    [
        ("focal", {"alpha": 0.25}, None, None, r"loss\.alpha=0\.25 is one number.*loss\.form=sigmoid"),
        ("focal", {"alpha": [1.0], "form": "sigmoid"}, None, None, r"loss\.alpha is a list.*loss\.alpha=0\.25"),
        ("focal", {"alpha": [1.0]}, scores(2, 3), labels(3, 2), r"loss\.alpha has 1 weights for 3 classes"),
        ("focal", {}, scores(2), labels(2, 2), r"loss\.form=sigmoid"),
        ("tversky", {"alpha": 0, "beta": 0}, None, None, r"loss\.alpha and loss\.beta are both 0"),
        ("tversky", {}, scores(2, 3), scores(2, 3), "takes class indices"),
        ("lovasz", {}, scores(2, 3), scores(2, 3), "takes class indices"),
        ("sum", {"of": ["dice", "focall"]}, None, None, r"loss\.of: unknown loss 'focall'; did you mean 'focal'"),
        ("sum", {"of": ["sum", "dice"]}, None, None, r"loss\.of: a sum cannot be a part of a sum"),
        ("sum", {"of": ["giou"]}, None, None, r"loss\.of: giou is not a classification loss with a gradient"),
        ("sum", {"of": ["zero_one"]}, None, None, r"loss\.of: zero_one is not a classification loss with a gradient"),
        ("sum", {"of": []}, None, None, r"loss\.of is empty"),
        ("sum", {"weights": [1, 2, 3]}, None, None, r"a list of 3 for loss\.of with 2; .*loss\.weights=\[1,1\]"),
        ("sum", {"weights": [0, 0]}, None, None, r"loss\.weights has no number above 0"),
        ("sum", {"of": ["dice", "hinge"]}, scores(2, 3), scores(2, 3).softmax(1), r"hinge does not take probabilities"),
        ("cross_entropy", {"class_weights": "balanced"}, None, None, r"balanced needs.*loss\.class_weights=\[1,2\]"),
        ("mse", {"link": "softmax"}, scores(2), labels(2, 2), r"loss\.link=sigmoid"),
        ("mse", {}, scores(2, 1), scores(2), r"target of shape \(2,\) does not fit scores \(2, 1\)"),
        ("hinge", {}, scores(2, 3), scores(2, 3), "takes class indices"),
        ("exponential", {}, scores(2, 3), scores(2, 3), "takes class indices"),
        ("exponential", {}, scores(2, 3), labels(3, 2, 3)[:, :2], r"expected class indices \(2,\)"),
    ],
)
def test_refusals(name: str, settings: dict, input: Tensor, target: Tensor, says: str) -> None:
    with pytest.raises(UserError, match=says):
        build_loss(name, **settings)(input, target)
