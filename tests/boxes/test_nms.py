"""Suppression against torchvision, the papers' pseudo code in numpy, and its own laws; then what is found with it."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.ops as ops
from torch import Tensor

import dlzoo
from dlzoo.boxes import diou_nms, nms
from dlzoo.boxes.iou import diou, iou
from dlzoo.boxes.nms import FLOOR, NmsSettings
from dlzoo.core.registries import NMS
from dlzoo.tasks.detection.postprocess import select_detections

HARD = ["nms", "diou_nms"]


def measures(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU and DIoU of (4,) with (B, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.clip(sides, 0, None).prod(1)
    whole = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    overlap = both / whole
    centres = (box[:2] + box[2:]) / 2 - (others[:, :2] + others[:, 2:]) / 2
    hull = np.maximum(box[2:], others[:, 2:]) - np.minimum(box[:2], others[:, :2])
    return overlap, overlap - (centres**2).sum(1) / (hull**2).sum(1)


#: (IoU, DIoU, the setting) -> what a score becomes a multiple of: the lines of the papers.
RULES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "nms": lambda iou, diou, setting: np.where(iou > setting, 0, 1),
    "diou_nms": lambda iou, diou, setting: np.where(diou >= setting, 0, 1),
    "soft_nms_linear": lambda iou, diou, setting: np.where(iou >= setting, 1 - iou, 1),
    "soft_nms_gaussian": lambda iou, diou, setting: np.exp(-(iou**2) / setting),
}
DEFAULTS = dict.fromkeys(RULES, 0.5) | {"soft_nms_linear": 0.3}
SETTINGS = dict.fromkeys(RULES, "iou") | {"soft_nms_gaussian": "sigma"}


def by_hand(name: str, setting: float, boxes: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
    """Figure 2 of arXiv:1704.04503, for each image and class: take the best, decay the rest, again and again."""
    result = np.zeros(scores.shape)
    for image, label in {(i, c) for i, row in enumerate(classes.tolist()) for c in row}:
        (places,) = np.nonzero((classes[image] == label).numpy() & (scores[image] > 0).numpy())
        rest, left = boxes[image].double().numpy(), scores[image].double().numpy()
        while len(places):
            best = places[left[places].argmax()]
            result[image, best] = left[best]
            places = places[places != best]
            left[places] *= RULES[name](*measures(rest[best], rest[places]), setting)
            places = places[left[places] > 0]
    floor = FLOOR if name.startswith("soft") else 0
    return torch.from_numpy(np.where(result >= floor, result, 0)).float()


def images(seed: int, images: int = 3, count: int = 60, classes: int = 3, spread: float = 0.15) -> tuple[Tensor, ...]:
    """Boxes around a few places, so that many overlap; a tenth has the score 0, all other scores differ."""
    generator = torch.Generator().manual_seed(seed)
    places = 400 * torch.rand(images, 6, 4, generator=generator)
    chosen = places.gather(1, torch.randint(6, (images, count, 1), generator=generator).expand(-1, -1, 4))
    centre, side = chosen[..., :2], 20 + chosen[..., 2:] / 4
    noise = spread * torch.randn(2, images, count, 2, generator=generator)
    centre, side = centre + noise[0] * side, side * noise[1].exp()
    scores = torch.randperm(images * count, generator=generator).view(images, count) / (images * count)
    scores *= torch.rand(images, count, generator=generator) > 0.1
    labels = torch.randint(classes, (images, count), generator=generator)
    return torch.cat((centre - side / 2, centre + side / 2), -1), scores, labels


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("setting", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("spread", [0.02, 0.15, 0.6])
def test_against_the_pseudo_code(name: str, setting: float, spread: float) -> None:
    suppress = dlzoo.build("nms", name, **{SETTINGS[name]: setting})
    for seed in range(3):
        given = images(seed, spread=spread)
        # The floor of soft-NMS is met by rounding once in many thousand boxes: such a box is 0 here or there.
        torch.testing.assert_close(suppress(*given), by_hand(name, setting, *given), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("cells", [1, 100, 2**16])
def test_groups_are_looked_at_in_parts_of_any_size(name: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms, "_CELLS", cells)
    given = images(14, count=100, classes=12)
    torch.testing.assert_close(
        dlzoo.build("nms", name)(*given), by_hand(name, DEFAULTS[name], *given), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("pairs", [2**8, 2**14, 2**18])
@pytest.mark.parametrize("spread", [0.05, 0.3, 3])
def test_many_boxes_in_blocks_of_any_size(
    name: str, pairs: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diou_nms, "_PAIRS", pairs)
    given = images(1, images=2, count=800, classes=2, spread=spread)
    assert torch.equal(dlzoo.build("nms", name)(*given), by_hand(name, 0.5, *given))


@pytest.mark.parametrize("count", [1, 2, 500, 3000])
def test_nms_against_torchvision(count: int) -> None:
    boxes, scores, classes = images(2, images=1, count=count, classes=5)
    scores += 0.001
    expected = torch.zeros(count)
    kept = ops.batched_nms(boxes[0], scores[0], classes[0], 0.5)
    expected[kept] = scores[0, kept]
    assert torch.equal(dlzoo.build("nms", "nms")(boxes, scores, classes)[0], expected)


@pytest.mark.parametrize("name", NMS.names())
def test_other_classes_and_images_do_not_matter(name: str) -> None:
    suppress, (boxes, scores, classes) = dlzoo.build("nms", name), images(3)
    together = suppress(boxes, scores, classes)
    for image in range(len(boxes)):
        for label in range(3):
            alone = suppress(boxes[image, None], scores[image, None] * (classes[image] == label), classes[image, None])
            assert torch.equal(alone[0], together[image] * (classes[image] == label))
    same = boxes[:1, :1].expand(2, 4, 4)
    scores, classes = torch.full((2, 4), 0.7), torch.arange(-2, 2).expand(2, 4)
    assert torch.equal(suppress(same, scores, classes), scores)


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("shift", [1e6, -1e6])
def test_a_million_pixels_away_nothing_changes(name: str, shift: float) -> None:
    boxes, scores, classes = images(4, images=4, count=200, classes=30)
    # A quarter of a pixel is what float32 can say there.
    boxes = (4 * boxes).round() / 4
    near = dlzoo.build("nms", name)(boxes, scores, classes)
    assert torch.equal(dlzoo.build("nms", name)(boxes + shift, scores, classes), near)
    assert (near < scores).any()


@pytest.mark.parametrize("name", NMS.names())
def test_the_order_of_boxes_and_the_names_of_classes_do_not_matter(name: str) -> None:
    suppress, (boxes, scores, classes) = dlzoo.build("nms", name), images(5)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = suppress(boxes[:, order], scores[:, order], classes[:, order])
    assert torch.equal(shuffled, suppress(boxes, scores, classes)[:, order])
    assert torch.equal(suppress(boxes, scores, 7 - 3 * classes), suppress(boxes, scores, classes))


@pytest.mark.parametrize("name", NMS.names())
def test_scores_only_fall_and_the_best_of_a_class_stays(name: str) -> None:
    boxes, scores, classes = images(6)
    after = dlzoo.build("nms", name)(boxes, scores, classes)
    assert ((after >= 0) & (after <= scores)).all()
    assert (after < scores).any()
    for label in range(3):
        best = (scores * (classes == label)).argmax(1, keepdim=True)
        assert torch.equal(after.gather(1, best), scores.gather(1, best))


@pytest.mark.parametrize("name", HARD)
def test_what_is_left_is_left_again(name: str) -> None:
    boxes, scores, classes = images(7)
    once = dlzoo.build("nms", name)(boxes, scores, classes)
    assert torch.equal(dlzoo.build("nms", name)(boxes, once, classes), once)


@pytest.mark.parametrize("name", NMS.names())
def test_of_duplicates_one_is_left_whole(name: str) -> None:
    box = torch.tensor([10.0, 20.0, 50.0, 80.0])
    after = dlzoo.build("nms", name)(box.expand(1, 40, 4), torch.full((1, 40), 0.9), torch.zeros(1, 40).long())[0]
    assert after[0] == 0.9
    if name == "soft_nms_gaussian":
        expected = 0.9 * torch.exp(-2 * torch.arange(40.0))
        torch.testing.assert_close(after, expected.where(expected >= FLOOR, 0))
    else:
        assert not after[1:].any()


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0), (2, 5)])
def test_nothing_there(name: str, shape: tuple[int, int]) -> None:
    empty = torch.zeros(shape)
    assert torch.equal(dlzoo.build("nms", name)(torch.rand(*shape, 4), empty, empty.long()), empty)


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_boxes_and_scores_that_are_no_numbers_are_nothing(name: str, broken: float) -> None:
    suppress, (boxes, scores, classes) = dlzoo.build("nms", name), images(8)
    absent = scores.clone()
    absent[:, ::3] = 0
    boxes[:, ::6, 1] = broken
    scores[:, 3::6] = math.nan
    assert torch.equal(suppress(boxes, scores, classes), suppress(boxes, absent, classes))


@pytest.mark.parametrize("name", NMS.names())
def test_boxes_without_an_area_neither_suppress_nor_are_suppressed(name: str) -> None:
    boxes = [[5, 5, 5, 5], [5, 5, 5, 5], [5, 0, 5, 9], [0, 0, 10, 10], [9, 9, 1, 1], [9, 9, 1, 1], [10, 0, 0, 10]]
    boxes = torch.tensor([boxes], dtype=torch.float32)
    scores = torch.arange(7, 0, -1)[None] / 10
    setting = {"soft_nms_gaussian": 0.5}.get(name, 0)
    assert torch.equal(
        dlzoo.build("nms", name, **{SETTINGS[name]: setting})(boxes, scores, torch.zeros(1, 7).long()), scores
    )


@pytest.mark.parametrize("name", NMS.names())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_keep_their_precision(name: str, dtype: torch.dtype) -> None:
    boxes, scores, classes = images(9)
    boxes, scores = (30 * boxes).to(dtype), scores.to(dtype)
    after = dlzoo.build("nms", name)(boxes.requires_grad_(), scores.requires_grad_(), classes)
    assert after.dtype == dtype and not after.requires_grad
    torch.testing.assert_close(
        after.float(), dlzoo.build("nms", name)(boxes.float(), scores.float(), classes), rtol=1e-2, atol=1e-6
    )


def test_at_its_threshold_nms_keeps_and_diou_nms_does_not() -> None:
    outer, inner = [0.0, 0.0, 8.0, 8.0], [0.0, 2.0, 8.0, 6.0]
    given = torch.tensor([[outer, inner]]), torch.tensor([[0.9, 0.8]]), torch.zeros(1, 2).long()
    assert iou(*given[0][0]) == diou(*given[0][0]) == 0.5
    assert dlzoo.build("nms", "nms", iou=0.5)(*given)[0, 1] == 0.8
    assert dlzoo.build("nms", "diou_nms", iou=0.5)(*given)[0, 1] == 0


def test_diou_nms_is_nms_around_one_centre_and_spares_what_is_beside() -> None:
    generator = torch.Generator().manual_seed(0)
    side = 10 + 90 * torch.rand(1, 100, 2, generator=generator)
    scores, classes = torch.randperm(100, generator=generator)[None] / 100, torch.zeros(1, 100).long()
    boxes = 200 + torch.cat((-side, side), -1)
    suppressed = {name: dlzoo.build("nms", name)(boxes, scores, classes) for name in HARD}
    assert torch.equal(suppressed["nms"], suppressed["diou_nms"])
    beside = torch.tensor([[[0.0, 0, 10, 10], [3.2, 0, 13.2, 10]]])
    assert iou(*beside[0]) > 0.5 > diou(*beside[0])
    scores = torch.tensor([[0.9, 0.8]])
    assert torch.equal(dlzoo.build("nms", "nms")(beside, scores, classes[:, :2]), torch.tensor([[0.9, 0]]))
    assert torch.equal(dlzoo.build("nms", "diou_nms")(beside, scores, classes[:, :2]), scores)


@pytest.mark.parametrize("stretch", [1.0, 30.0])
def test_diou_is_within_the_bounds_that_spare_the_distance(stretch: float) -> None:
    first, second = images(10, images=2, count=5000, spread=0.4)[0] * torch.tensor([stretch, 1, stretch, 1]).double()
    first, second = first[iou(first, second) > 0], second[iou(first, second) > 0]
    overlap, measured = iou(first, second), diou(first, second)
    assert (measured <= overlap).all()
    assert (measured >= overlap - ((1 - overlap) / 2) ** 2 - 1e-12).all()
    for threshold in (0.0, 0.3, 0.5, 1.0):
        low, sure = diou_nms._bounds(threshold)
        share = overlap / (1 + overlap)
        assert (measured[share <= low] < max(threshold, 1e-9)).all()
        assert (measured[share >= sure] >= threshold).all()


def found_by_hand(boxes: Tensor, scores: Tensor, settings: NmsSettings) -> Tensor:
    """Image by image and in lists, with torchvision's suppression."""
    rows = torch.zeros(len(scores), settings.detections, 6)
    for image in range(len(scores)):
        pairs = [(s, a, k) for a, row in enumerate(scores[image].tolist()) for k, s in enumerate(row)]
        pairs = sorted((p for p in pairs if p[0] >= settings.min_score and p[0] > 0), reverse=True)
        pairs = pairs[: settings.candidates]
        if not pairs:
            continue
        chosen = torch.stack([boxes[image, a] if boxes.ndim == 3 else boxes[image, a, k] for _, a, k in pairs])
        which = torch.tensor([k for _, _, k in pairs])
        kept = ops.batched_nms(chosen, torch.tensor([s for s, _, _ in pairs]), which, 0.5)[: settings.detections]
        for place, row in zip(rows[image], kept.tolist(), strict=False):
            place[:4], place[4], place[5] = chosen[row], pairs[row][0], which[row]
    return rows


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("of_class", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        NmsSettings(),
        NmsSettings(min_score=0.5, candidates=30, detections=10),
        NmsSettings(min_score=0, candidates=50, detections=60),
        NmsSettings(min_score=1),
    ],
)
def test_detections_by_hand(classes: int, of_class: bool, settings: NmsSettings) -> None:
    boxes, _, _ = images(11, count=40 * classes)
    boxes = boxes.unflatten(1, (40, classes)) if of_class else boxes[:, :40]
    scores = torch.randperm(3 * 40 * classes, generator=torch.Generator().manual_seed(0)).view(3, 40, classes)
    scores = scores / scores.numel()
    rows = select_detections(boxes, scores, dlzoo.build("nms", "nms"), settings)
    assert torch.equal(rows, found_by_hand(boxes, scores, settings))


@pytest.mark.parametrize("name", NMS.names())
def test_detections_are_sorted_and_what_is_below_the_least_score_is_zero(name: str) -> None:
    boxes, _, _ = images(12)
    scores = torch.rand(3, 60, 5, generator=torch.Generator().manual_seed(0))
    settings = NmsSettings(min_score=0.4, candidates=200, detections=120)
    rows = select_detections(boxes, scores, dlzoo.build("nms", name), settings)
    there = rows[..., 4] > 0
    assert (rows[..., 4].diff(dim=1) <= 0).all()
    assert (rows[there][:, 4] >= settings.min_score).all()
    assert there.any() and not there.all()
    assert not rows[~there].any()


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 7, 3), (0, 0, 3)])
def test_detections_of_nothing(shape: tuple[int, int, int]) -> None:
    images, anchors, classes = shape
    for boxes in (torch.zeros(images, anchors, 4), torch.zeros(images, anchors, classes, 4)):
        rows = select_detections(boxes, torch.zeros(shape), dlzoo.build("nms", "nms"), NmsSettings(detections=9))
        assert torch.equal(rows, torch.zeros(images, 9, 6))


def test_detections_of_what_is_no_number_are_numbers() -> None:
    boxes, _, _ = images(13)
    scores = torch.rand(3, 60, 2, generator=torch.Generator().manual_seed(0))
    boxes[:, ::2], scores[:, ::3] = math.nan, math.nan
    rows = select_detections(boxes, scores, dlzoo.build("nms", "soft_nms_gaussian"), NmsSettings())
    assert rows.isfinite().all() and (rows[..., 4] > 0).any()
