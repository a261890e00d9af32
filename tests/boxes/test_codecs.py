"""Codecs against torchvision's and the papers' formulas, and anchors that are found again."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder

from dlzoo.boxes.anchors import kmeans_anchors, mean_iou
from dlzoo.boxes.codecs import delta_decode, delta_encode, yolo_decode, yolo_encode
from dlzoo.boxes.iou import iou
from dlzoo.core.errors import UserError

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (3.0, 7.0, 2.0, 0.5)]


def random(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def boxes(seed: int, count: int = 200, scale: float = 100) -> Tensor:
    corner, side = scale * random(seed, 2, count, 2)
    return torch.cat((corner, corner + 0.05 * scale + side), -1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_deltas_against_torchvision(weights: tuple[float, float, float, float]) -> None:
    coder, targets, anchors = BoxCoder(weights), boxes(0), boxes(1)
    torch.testing.assert_close(
        delta_encode(targets, anchors, weights), coder.encode_single(targets, anchors), rtol=1e-5, atol=1e-4
    )
    # Wide enough for the limit of the sides.
    deltas = 40 * random(2, 200, 4) - 20
    decoded = delta_decode(deltas, anchors, weights)
    torch.testing.assert_close(decoded, coder.decode_single(deltas, anchors), rtol=1e-5, atol=1e-2)
    assert (decoded[:, 2:] - decoded[:, :2]).amax() > 60 * 0.05 * 100


def test_deltas_of_a_box_a_class() -> None:
    deltas, anchors = random(0, 50, 3, 4), boxes(1, 50)
    decoded = delta_decode(deltas, anchors[:, None], WEIGHTS[1])
    for label in range(3):
        assert torch.equal(decoded[:, label], delta_decode(deltas[:, label], anchors, WEIGHTS[1]))


def test_yolo_against_the_formulas() -> None:
    # Stride 32, the cell of column 3 and row 5, a prior of 116 x 90: numbers worked out on paper.
    offsets = torch.tensor([0.25, 0.5, math.log(2), math.log(0.5)])
    corners, priors = torch.tensor([3.0, 5.0]), torch.tensor([116.0, 90.0])
    decoded = yolo_decode(offsets, corners, priors, 32)
    torch.testing.assert_close(decoded, torch.tensor([104 - 116, 176 - 22.5, 104 + 116, 176 + 22.5]))
    torch.testing.assert_close(yolo_encode(decoded, corners, priors, 32), offsets)


@pytest.mark.parametrize("stride", [8, 13.5, torch.full((200, 1), 16.0)])
def test_yolo_there_and_back(stride: float | Tensor) -> None:
    targets, priors = boxes(0), 5 + 50 * random(1, 200, 2)
    corners = ((targets[:, :2] + targets[:, 2:]) / 2 / stride).floor()
    offsets = yolo_encode(targets, corners, priors, stride)
    assert ((offsets[:, :2] >= 0) & (offsets[:, :2] <= 1)).all()
    torch.testing.assert_close(yolo_decode(offsets, corners, priors, stride), targets, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e6])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_deltas_there_and_back(scale: float, weights: tuple[float, float, float, float]) -> None:
    targets, anchors = boxes(0, scale=scale), boxes(1, scale=scale)
    again = delta_decode(delta_encode(targets, anchors, weights), anchors, weights)
    torch.testing.assert_close(again, targets, rtol=1e-5, atol=1e-5 * scale)


#: (boxes or offsets (R, 4), what they are relative to (R, 4)) -> (R, 4).
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "delta_encode": delta_encode,
    "delta_decode": delta_decode,
    "yolo_encode": lambda given, other: yolo_encode(given, other[:, :2], other[:, 2:] - other[:, :2] + 1, 16),
    "yolo_decode": lambda given, other: yolo_decode(given, other[:, :2], other[:, 2:] - other[:, :2], 16),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("extreme", [0.0, 1e6, -1e6, "points", "both points"])
def test_nothing_becomes_infinite(name: str, extreme: float | str) -> None:
    given, other = boxes(0), boxes(1)
    if isinstance(extreme, float):
        given = torch.full_like(given, extreme)
    else:
        given[:, 2:] = given[:, :2]
    if extreme == "both points":
        other[:, 2:] = other[:, :2]
    given.requires_grad_()
    result = FUNCTIONS[name](given, other)
    assert result.isfinite().all()
    (0 * result.square().sum()).backward()
    assert given.grad is not None and not given.grad.any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_boxes(name: str) -> None:
    assert FUNCTIONS[name](torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def planted(per_cluster: int = 60) -> tuple[Tensor, Tensor]:
    """Nine shapes, and sizes within a few per cent of one of them each."""
    shapes = torch.tensor([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326]).view(9, 2)
    noise = 0.03 * random(0, 9, per_cluster, 2) + 0.985
    return shapes.float(), (shapes[:, None] * noise).flatten(0, 1)


@pytest.mark.parametrize("seed", range(4))
def test_kmeans_finds_what_was_planted(seed: int) -> None:
    shapes, sizes = planted()
    anchors = kmeans_anchors(sizes, 9, seed)
    torch.testing.assert_close(anchors, shapes[shapes.prod(1).argsort()], rtol=0.02, atol=0)
    assert mean_iou(sizes, anchors) > 0.97


def test_kmeans_fits_better_than_chance_and_with_more_anchors_better_still() -> None:
    sizes = 5 + 300 * random(3, 500, 2).square()
    fits = [mean_iou(sizes, kmeans_anchors(sizes, count)) for count in (1, 2, 5, 9)]
    assert fits == sorted(fits)
    chance = [mean_iou(sizes, sizes[random(seed, 500).topk(9).indices]) for seed in range(20)]
    assert fits[-1] > max(chance)


def test_kmeans_is_the_same_again_and_in_any_order() -> None:
    sizes = 5 + 100 * random(4, 300, 2)
    anchors = kmeans_anchors(sizes, 6)
    assert torch.equal(anchors, kmeans_anchors(sizes, 6))
    assert torch.equal(anchors, kmeans_anchors(sizes.flip(0), 6))
    assert (anchors.prod(1).diff() >= 0).all()


def test_sizes_that_come_often_weigh_more() -> None:
    sizes = torch.tensor([[10.0, 10.0], [20.0, 20.0]])
    assert torch.equal(
        kmeans_anchors(sizes.repeat_interleave(torch.tensor([3, 1]), 0), 1), torch.tensor([[12.5, 12.5]])
    )


def test_fewer_distinct_sizes_than_anchors() -> None:
    sizes = torch.tensor([[10.0, 20.0], [50.0, 40.0], [0.0, 7.0]]).repeat(5, 1)
    anchors = kmeans_anchors(sizes, 5)
    assert anchors.shape == (5, 2)
    assert torch.equal(anchors.unique(dim=0), sizes[:2])


@pytest.mark.parametrize("sizes", [torch.zeros(0, 2), torch.zeros(3, 2)])
def test_no_sizes_at_all(sizes: Tensor) -> None:
    with pytest.raises(UserError, match="anchors=kmeans needs boxes"):
        kmeans_anchors(sizes, 3)


def test_mean_iou_is_that_of_boxes_around_one_centre() -> None:
    sizes, anchors = 1 + random(5, 40, 2), 1 + random(6, 7, 2)
    pairs = iou(torch.cat((-sizes, sizes), -1)[:, None], torch.cat((-anchors, anchors), -1))
    assert mean_iou(sizes, anchors) == pytest.approx(pairs.amax(1).mean().item())
    assert mean_iou(sizes, sizes) == 1
