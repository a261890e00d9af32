"""The algebra of boxes and their losses against torchvision, counted pixels and their own laws."""

import math
from collections.abc import Callable

import pytest
import torch
import torchvision.ops as ops
from torch import Tensor

from dlzoo.boxes.iou import area, ciou, diou, giou, iou
from dlzoo.builder.model import build_loss
from dlzoo.core.errors import UserError
from dlzoo.core.registries import LOSSES
from tests.losses.test_losses import assert_same, bears, value_and_gradient

Measure = Callable[[Tensor, Tensor], Tensor]

BOXES = [name for name in LOSSES.names() if "boxes" in LOSSES[name].marks.targets]

MEASURES: list[Measure] = [iou, giou, diou, ciou]


def boxes(count: int, seed: int, scale: float = 1.0) -> Tensor:
    numbers = torch.rand(2, count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    corner, side = numbers[0], 0.1 + numbers[1]
    return scale * torch.cat((corner, corner + side), -1)


@pytest.mark.parametrize(
    ("measure", "reference"),
    [
        (iou, ops.box_iou),
        (giou, ops.generalized_box_iou),
        (diou, lambda a, b: ops.distance_box_iou(a, b, eps=1e-15)),
        (ciou, lambda a, b: ops.complete_box_iou(a, b, eps=1e-15)),
    ],
)
def test_all_pairs_against_torchvision(measure: Measure, reference: Measure) -> None:
    first, second = boxes(40, 0, 100), boxes(30, 1, 100)
    pairs = measure(first[:, None], second[None])
    torch.testing.assert_close(pairs, reference(first, second), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(measure(first[:30], second), pairs[:30].diagonal())


def test_iou_counts_pixels() -> None:
    numbers = torch.randint(0, 12, (50, 2, 2, 2), generator=torch.Generator().manual_seed(0))
    corners = numbers.sort(dim=2).values
    corners[:, :, 1] += 1
    masks = torch.zeros(50, 2, 13, 13, dtype=torch.bool)
    for pair, two in enumerate(corners.tolist()):
        for which, ((x1, y1), (x2, y2)) in enumerate(two):
            masks[pair, which, y1:y2, x1:x2] = True
    first, second = corners.flatten(2).unbind(1)
    torch.testing.assert_close(area(first), masks[:, 0].sum((1, 2)).float())
    counted = (masks[:, 0] & masks[:, 1]).sum((1, 2)) / (masks[:, 0] | masks[:, 1]).sum((1, 2))
    assert 0 < (counted == 0).sum() < 50
    torch.testing.assert_close(iou(first, second), counted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e4])
def test_measures_do_not_depend_on_the_scale(dtype: torch.dtype, scale: float) -> None:
    first, second = boxes(100, 0), boxes(100, 1)
    for measure in MEASURES:
        scaled = measure((scale * first).to(dtype), (scale * second).to(dtype))
        torch.testing.assert_close(scaled.double(), measure(first, second), rtol=1e-5, atol=1e-5)


def test_order_of_the_measures() -> None:
    first, second = boxes(300, 0).float(), boxes(300, 1).float()
    first[:100, :] *= 1e-3
    rounding = 1e-6
    assert ((iou(first, second) >= 0) & (iou(first, second) <= 1)).all()
    assert (giou(first, second) <= iou(first, second) + rounding).all()
    assert (giou(first, second) >= -1 - rounding).all()
    assert (diou(first, second) <= iou(first, second)).all()
    assert (diou(first, second) >= -1).all()
    assert (ciou(first, second) <= diou(first, second)).all()
    for measure in MEASURES:
        torch.testing.assert_close(measure(first, second), measure(second, first))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_a_million_pixels_away_nothing_changes(measure: Measure, shift: float) -> None:
    # A quarter of a pixel is what float32 can say there.
    first, second = ((4 * boxes(200, seed, 50)).round().float() / 4 for seed in (0, 1))
    assert torch.equal(measure(first + shift, second + shift), measure(first, second))
    huge = measure(boxes(200, 0, 1e6).float(), boxes(200, 1, 1e6).float())
    torch.testing.assert_close(huge.double(), measure(boxes(200, 0), boxes(200, 1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_pairs_move_with_their_boxes(measure: Measure) -> None:
    first, second = boxes(20, 0).float(), boxes(30, 1).float()
    # Some are there twice.
    rows, columns = (torch.randint(count, (40,), generator=torch.Generator().manual_seed(count)) for count in (20, 30))
    pairs = measure(first[:, None], second)
    # Not to the bit: vectors and what is left over of them have different arc tangents.
    torch.testing.assert_close(
        measure(first[rows][:, None], second[columns]), pairs[rows][:, columns], rtol=0, atol=1e-6
    )
    assert measure(first[:0, None], second).shape == (0, 30)
    assert measure(first[:, None], second[:0]).shape == (20, 0)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e4])
def test_a_box_equals_itself_exactly(measure: Measure, scale: float) -> None:
    same = boxes(100, 0, scale).float()
    assert (measure(same, same) == 1).all()


def test_a_box_in_the_middle_of_its_like_differs_in_its_overlap_only() -> None:
    outer, inner = torch.tensor([0.0, 0.0, 8.0, 4.0]), torch.tensor([2.0, 1.0, 6.0, 3.0])
    for measure in MEASURES:
        assert measure(outer, inner).item() == 0.25
    square = torch.tensor([3.0, 1.0, 5.0, 3.0])
    assert ciou(outer, square) < diou(outer, square) == iou(outer, square)


def test_boxes_that_are_apart_are_pulled_together_by_all_but_iou() -> None:
    target, apart = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([5.0, 0.0, 6.0, 1.0])
    for measure in MEASURES:
        moved = apart.clone().requires_grad_()
        value = measure(moved, target)
        value.backward()
        assert moved.grad is not None
        if measure is iou:
            assert value.item() == 0
            assert not moved.grad.any()
        else:
            assert value.item() < 0
            assert moved.grad[0] + moved.grad[2] < 0
            assert measure(apart - torch.tensor([1.0, 0.0, 1.0, 0.0]), target) > value


@pytest.mark.parametrize("nothing", [[5.0, 5, 5, 5], [5.0, 0, 5, 9], [9.0, 9, 1, 1], [9.0, 0, 1, 9]])
def test_a_box_without_area_overlaps_nothing(nothing: list[float]) -> None:
    empty, full = torch.tensor(nothing), torch.tensor([0.0, 0.0, 10.0, 10.0])
    assert area(empty).item() == 0
    for other in (empty, full):
        assert iou(empty, other).item() == iou(other, empty).item() == 0
        for measure in MEASURES:
            assert -1.5 <= measure(empty, other).item() <= 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_half_precision_and_integers_are_computed_in_single(dtype: torch.dtype) -> None:
    first, second = boxes(50, 0, 3000).to(dtype), boxes(50, 1, 3000).to(dtype)
    assert area(first).dtype == torch.float32
    assert area(first).isfinite().all()
    for measure in MEASURES:
        torch.testing.assert_close(measure(first, second), measure(first.float(), second.float()), rtol=0, atol=0)


#: boxes (N, 4), targets (N, 4).
OF_BOXES: dict[str, Measure] = {
    "iou": lambda b, t: (1 - ops.box_iou(b, t).diagonal()).mean(),
    "giou": lambda b, t: ops.generalized_box_iou_loss(b, t, reduction="mean"),
    "diou": lambda b, t: ops.distance_box_iou_loss(b, t, reduction="mean"),
    "ciou": lambda b, t: ops.complete_box_iou_loss(b, t, reduction="mean"),
}


@pytest.mark.parametrize("name", BOXES)
def test_losses_against_torchvision(name: str) -> None:
    assert_same(build_loss(name), OF_BOXES[name], boxes(200, 0, 100), boxes(200, 1, 100))


def constant_alpha_ciou(box: list[float], target: list[float], alpha: float | None = None) -> tuple[float, float]:
    """(The loss in plain numbers, alpha): equations 8 to 11 of arXiv:1911.08287."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = box, target
    both = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
    iou = both / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both)
    centres = math.dist(((x1 + x2) / 2, (y1 + y2) / 2), ((u1 + u2) / 2, (v1 + v2) / 2))
    diagonal = math.dist((min(x1, u1), min(y1, v1)), (max(x2, u2), max(y2, v2)))
    v = 4 / math.pi**2 * (math.atan((u2 - u1) / (v2 - v1)) - math.atan((x2 - x1) / (y2 - y1))) ** 2
    alpha = v / (1 - iou + v) if alpha is None else alpha
    return 1 - iou + (centres / diagonal) ** 2 + alpha * v, alpha


def test_the_weight_of_ciou_is_a_constant() -> None:
    box, target = [1.0, 2.0, 5.0, 4.0], [2.0, 1.5, 4.5, 6.0]
    expected, alpha = constant_alpha_ciou(box, target)
    value, gradient = value_and_gradient(build_loss("ciou"), *torch.tensor([[box], [target]], dtype=torch.float64))
    assert value.item() == pytest.approx(expected)
    for i in range(4):
        up, down = ([x + step * (j == i) for j, x in enumerate(box)] for step in (1e-5, -1e-5))
        slope = (constant_alpha_ciou(up, target, alpha)[0] - constant_alpha_ciou(down, target, alpha)[0]) / 2e-5
        free = (constant_alpha_ciou(up, target)[0] - constant_alpha_ciou(down, target)[0]) / 2e-5
        assert gradient[0, i].item() == pytest.approx(slope, rel=1e-6)
        assert abs(slope - free) > 1e-4


EXTREME_BOXES = {
    "equal": ([10, 10, 20, 30], [10, 10, 20, 30]),
    "equal and tiny": ([1e-3, 1e-3, 2e-3, 3e-3], [1e-3, 1e-3, 2e-3, 3e-3]),
    "tiny": ([1e-3, 1e-3, 3e-3, 2e-3], [2e-3, 1e-3, 4e-3, 3e-3]),
    "far": ([0, 0, 1, 1], [9e3, 9e3, 1e4, 1e4]),
    "huge": ([0, 0, 1e4, 1e4], [5000, 5000, 5004, 5004]),
    "a point": ([5, 5, 5, 5], [0, 0, 10, 10]),
    "hardly more than a point": ([0, 0, 1e-25, 1e-25], [0, 0, 10, 10]),
    "two points": ([5, 5, 5, 5], [7, 5, 7, 5]),
    "one point": ([5, 5, 5, 5], [5, 5, 5, 5]),
    "a line": ([5, 0, 5, 9], [5, 0, 5, 9]),
    "lines": ([5, 0, 5, 9], [0, 5, 9, 5]),
    "the wrong way round": ([20, 30, 10, 10], [10, 10, 20, 30]),
    "the wrong way round to the right": ([1e4, 1e4, 60, 60], [59.5, 59.5, 60, 60]),
    "the wrong way round to the left": ([60, 60, -1e4, -1e4], [60, 60, 60.5, 60.5]),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("which", EXTREME_BOXES)
def test_extreme_boxes(name: str, which: str) -> None:
    given, targets = torch.tensor([EXTREME_BOXES[which]], dtype=torch.float32).unbind(1)
    bears(build_loss(name), given, targets)
    # At most 1 each for the overlap, the distance and the shape.
    assert 0 <= build_loss(name)(given, targets).item() <= 3
    if which.startswith("equal"):
        assert build_loss(name)(given, targets).item() == 0


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_boxes_cost_nothing(name: str, dtype: torch.dtype) -> None:
    value, gradient = value_and_gradient(build_loss(name), torch.zeros(0, 4, dtype=dtype), torch.zeros(0, 4))
    assert value.item() == 0
    assert gradient.shape == (0, 4)


@pytest.mark.parametrize("targets", [torch.zeros(4), torch.zeros(3, 4), torch.zeros(4, 1)])
def test_boxes_and_targets_of_other_shapes_are_refused(targets: Tensor) -> None:
    with pytest.raises(UserError, match=r"must both be \(N, 4\)"):
        build_loss("giou")(torch.zeros(4, 4), targets)
