"""Losses of masks: what holds for all of them, and each against loops over the pixels that are not ignored."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dlzoo.builder.model import build_loss
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from dlzoo.tasks.segmentation.losses import MaskLoss

CLASSES = 3
WEIGHTS = (0.5, 2.0, 1.0)
ON_MASKS = [name for name in LOSSES.names() if "masks" in LOSSES[name].marks.targets]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in ON_MASKS),
    ("cross_entropy", {"label_smoothing": 0.2, "class_weights": WEIGHTS}),
    ("focal", {"alpha": WEIGHTS, "gamma": 1.5}),
    ("focal", {"form": "sigmoid", "alpha": 0.3}),
    ("tversky", {"alpha": 0.5, "beta": 0.5, "smooth": 0.5}),
    ("lovasz", {"per_image": True}),
    ("sum", {"of": ("bce", "tversky", "nll", "dice"), "weights": (1.0, 0.5, 2.0, 0.0)}),
]
#: Losses that are functions of sums over pixels or images; the others are means over batches.
OF_SUMS = [each for each in VARIANTS if each != ("lovasz", {})]


def case(seed: int = 0, images: int = 2, ignored: float = 0.3) -> tuple[Tensor, Tensor]:
    """Logits (n, 3, 4, 5) float64 and masks (n, 4, 5) uint8; in some cases a class is absent."""
    numbers = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, CLASSES, 4, 5, dtype=torch.float64, generator=numbers)
    masks = torch.randint(CLASSES - seed % 2, (images, 4, 5), generator=numbers, dtype=torch.uint8)
    return logits, masks.masked_fill(torch.rand(masks.shape, generator=numbers) < ignored, 255)


def loss_of(name: str, settings: dict[str, Any]) -> MaskLoss:
    return MaskLoss(build_loss(name, **settings))


def value_and_gradient(loss: MaskLoss, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, masks)
    return value.detach(), torch.autograd.grad(value, logits)[0]


# Properties of all


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_without_a_known_pixel_loss_and_gradient_are_zero(name: str, settings: dict, dtype: torch.dtype) -> None:
    logits, masks = case()
    for factor in (0, 1, 1e4):
        value, gradient = value_and_gradient(
            loss_of(name, settings), (factor * logits).to(dtype), torch.full_like(masks, 255)
        )
        assert value == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_an_ignored_pixel_has_no_gradient_and_no_effect(name: str, settings: dict) -> None:
    logits, masks = case()
    loss, ignored = loss_of(name, settings), masks == 255
    value, gradient = value_and_gradient(loss, logits, masks)
    assert not gradient.movedim(1, -1)[ignored].any()
    assert gradient.movedim(1, -1)[~ignored].any(1).all()
    others = logits.where(~ignored[:, None], 7 * case(seed=9)[0])
    torch.testing.assert_close(value_and_gradient(loss, others, masks), (value, gradient), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "settings"), [each for each in VARIANTS if not each[1].get("per_image")])
def test_ignored_pixels_are_left_out(name: str, settings: dict) -> None:
    logits, masks = case()
    known = masks != 255
    plain = build_loss(name, **settings)(logits.movedim(1, -1)[known], masks[known].long())
    assert loss_of(name, settings)(logits, masks).item() == pytest.approx(plain.item(), rel=1e-9)


@pytest.mark.parametrize(("name", "settings"), OF_SUMS)
def test_sums_of_two_halves_are_those_of_the_whole(name: str, settings: dict) -> None:
    logits, masks = case(images=6)
    masks[:2] = 255  # one part has no known pixel
    loss = loss_of(name, settings)
    parts = [loss.sums(logits[part], masks[part]) for part in (slice(2), slice(2, 3), slice(3, 6))]
    assert loss.from_sums(torch.stack(parts).sum(0)).item() == pytest.approx(loss(logits, masks).item(), rel=1e-9)


def test_lovasz_of_a_split_is_the_mean_of_its_batches_weighted_by_their_pixels() -> None:
    logits, masks = case(images=6)
    loss, parts = loss_of("lovasz", {}), (slice(2), slice(2, 6))
    values, known = zip(*((loss(logits[p], masks[p]), (masks[p] != 255).sum()) for p in parts), strict=True)
    total = loss.from_sums(torch.stack([loss.sums(logits[part], masks[part]) for part in parts]).sum(0))
    assert total.item() == pytest.approx(np.average(values, weights=known), rel=1e-9)
    assert abs(total - loss(logits, masks)) > 1e-4


@pytest.mark.parametrize(("name", "settings"), [each for each in VARIANTS if "label_smoothing" not in each[1]])
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_does(name: str, settings: dict) -> None:
    _, masks = case()
    right = 50 * (2 * F.one_hot(masks.long().where(masks != 255, 0), CLASSES).movedim(-1, 1).double() - 1)
    loss = loss_of(name, settings)
    assert loss(right, masks).item() == pytest.approx(0, abs=1e-12)
    assert loss(right.roll(1, 1), masks) > 0.3


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_descent_leads_to_the_masks(name: str, settings: dict) -> None:
    logits, masks = case(seed=2)
    loss, logits = loss_of(name, settings), logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, masks).backward()
        optimizer.step()
    assert torch.equal(logits.argmax(1)[masks != 255], masks[masks != 255].long())


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_gradients_are_those_of_the_values(name: str, settings: dict) -> None:
    logits, masks = case(seed=2)
    loss = loss_of(name, settings)
    assert torch.autograd.gradcheck(lambda f: loss(f, masks), logits.requires_grad_())


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_single_precision_is_enough_for_many_pixels(name: str, settings: dict) -> None:
    numbers = torch.Generator().manual_seed(0)
    logits = torch.randn(1, CLASSES, 400, 500, generator=numbers)
    masks = torch.randint(CLASSES, (1, 400, 500), generator=numbers, dtype=torch.uint8)
    loss = loss_of(name, settings)
    single, double = (value_and_gradient(loss, logits.to(dtype), masks) for dtype in (torch.float32, torch.float64))
    assert single[0].item() == pytest.approx(double[0].item(), rel=1e-5)
    assert (single[1] - double[1]).norm() <= 1e-4 * double[1].norm()


# References: losses of known pixels, by image, in plain numpy


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def pixels_of(logits: Tensor, masks: Tensor) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the logits (3,) and the class of each known pixel."""
    rows, classes = logits.movedim(1, -1).reshape(-1, CLASSES).numpy(), masks.flatten().tolist()
    yield from ((row, k) for row, k in zip(rows, classes, strict=True) if k != 255)


def mean_of(function: Callable[[np.ndarray, int], float]) -> Callable[[Tensor, Tensor], float]:
    return lambda logits, masks: float(np.mean([function(row, k) for row, k in pixels_of(logits, masks)]))


def by_class(function: Callable[[float, float, float, float], float]) -> Callable[[Tensor, Tensor], float]:
    """The mean over classes of a function of sum p t, sum p, sum p^2 and sum t."""

    def loss(logits: Tensor, masks: Tensor) -> float:
        sums = np.zeros((CLASSES, 4))
        for row, k in pixels_of(logits, masks):
            for number, p in enumerate(softmax(row)):
                sums[number] += ((k == number) * p, p, p * p, k == number)
        return float(np.mean([function(*each) for each in sums]))

    return loss


def lovasz(logits: Tensor, masks: Tensor) -> float:
    """The integral over levels of 1 - IoU, if the pixels whose error is at least the level are wrong."""
    pixels = list(pixels_of(logits, masks))
    losses = []
    for number in sorted({k for _, k in pixels}):
        truth = {place for place, (_, k) in enumerate(pixels) if k == number}
        errors = [abs((k == number) - softmax(row)[number]) for row, k in pixels]
        total, below = 0.0, 0.0
        for level in sorted(errors):
            wrong = {place for place, error in enumerate(errors) if error >= level}
            guess = truth ^ wrong
            total += (level - below) * (1 - len(truth & guess) / len(truth | guess))
            below = level
        losses.append(total)
    return float(np.mean(losses))


def binary(row: np.ndarray, k: int) -> np.ndarray:
    return np.log1p(np.exp(np.where(np.arange(CLASSES) == k, -row, row)))


def tversky(alpha: float, beta: float, smooth: float) -> Callable[[float, float, float, float], float]:
    return lambda both, p, _, t: 1 - (both + smooth) / (both + alpha * (p - both) + beta * (t - both) + smooth)


def cross_entropy(logits: Tensor, masks: Tensor, **settings: Any) -> float:
    if "weight" in settings:
        settings["weight"] = torch.tensor(settings["weight"], dtype=torch.float64)
    return F.cross_entropy(logits, masks.long(), ignore_index=255, **settings).item()


def dice(both: float, _: float, squares: float, t: float) -> float:
    return 1 - (2 * both + 1) / (squares + t + 1)


REFERENCES: list[tuple[str, dict[str, Any], Callable[[Tensor, Tensor], float]]] = [
    ("cross_entropy", {}, cross_entropy),
    ("cross_entropy", {"label_smoothing": 0.2}, lambda f, t: cross_entropy(f, t, label_smoothing=0.2)),
    (
        "cross_entropy",
        {"label_smoothing": 0.1, "class_weights": WEIGHTS},
        lambda f, t: cross_entropy(f, t, label_smoothing=0.1, weight=WEIGHTS),
    ),
    ("nll", {}, mean_of(lambda row, k: -np.log(softmax(row)[k]))),
    ("bce", {}, mean_of(lambda row, k: binary(row, k).mean())),
    ("focal", {"gamma": 1.5}, mean_of(lambda row, k: -((1 - softmax(row)[k]) ** 1.5) * np.log(softmax(row)[k]))),
    (
        "focal",
        {"form": "sigmoid"},
        mean_of(lambda row, k: ((1 - np.exp(-binary(row, k))) ** 2 * binary(row, k)).mean()),
    ),
    ("dice", {}, by_class(dice)),
    ("tversky", {}, by_class(tversky(0.3, 0.7, 1.0))),
    (
        "tversky",
        {"alpha": 0.5, "beta": 0.5, "smooth": 0.5},
        by_class(lambda both, p, _, t: 1 - (2 * both + 1) / (p + t + 1)),
    ),
    ("lovasz", {}, lovasz),
    (
        "lovasz",
        {"per_image": True},
        lambda f, t: float(np.mean([lovasz(f[i : i + 1], t[i : i + 1]) for i in range(len(t))])),
    ),
    ("sum", {"weights": (1.0, 3.0)}, lambda f, t: cross_entropy(f, t) + 3 * by_class(dice)(f, t)),
]


def test_every_loss_of_masks_has_a_reference() -> None:
    assert {name for name, _, _ in REFERENCES} == set(ON_MASKS)


@pytest.mark.parametrize(("name", "settings", "reference"), REFERENCES)
def test_losses_of_masks(name: str, settings: dict, reference: Callable[[Tensor, Tensor], float]) -> None:
    loss = loss_of(name, settings)
    for seed in range(200):
        logits, masks = case(seed, ignored=0.1 * (seed % 8))
        assert loss(logits, masks).item() == pytest.approx(reference(logits, masks), rel=1e-6, abs=1e-9), seed


def test_lovasz_of_a_hard_prediction_is_one_minus_the_mean_iou() -> None:
    logits, masks = case()
    hard = 200 * F.one_hot(logits.argmax(1), CLASSES).movedim(-1, 1).double()
    guess, known = hard.argmax(1), masks != 255
    ious = []
    for k in range(CLASSES):
        both, either = (guess == k) & (masks == k), ((guess == k) | (masks == k)) & known
        ious.append((both.sum() / either.sum()).item())
    assert loss_of("lovasz", {})(hard, masks).item() == pytest.approx(1 - np.mean(ious))


def test_a_part_of_a_sum_that_is_not_for_masks_is_refused() -> None:
    logits, masks = case()
    with pytest.raises(UserError, match=r"loss\.of: hinge does not take masks; available: bce, cross_entropy, dice"):
        loss_of("sum", {"of": ("dice", "hinge")})(logits, masks)
