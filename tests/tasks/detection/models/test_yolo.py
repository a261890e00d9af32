"""YOLO: assignment against loops, what targets mean against what is decoded, every part in every place."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_iou

from dlzoo.boxes.objects import MatchedTargets, objects, pad_labels
from dlzoo.builder.model import build_loss, build_model
from dlzoo.core.errors import UserError
from dlzoo.core.registries import NECKS
from dlzoo.layers.batch_norm_sync import CrossMiniBatchNorm
from dlzoo.layers.norm import GroupNorm
from dlzoo.tasks.detection.models.yolo import Yolo
from dlzoo.tasks.detection.models.yolo_anchors import PAPER
from dlzoo.tasks.detection.yolo_assigner import assign, overlaps
from dlzoo.tasks.detection.yolo_coder import BoxCoder, grid

ANCHORS = torch.tensor([[[8.0, 8], [16, 8]], [[24, 24], [20, 40]], [[60, 60], [90, 50]]])
STRIDES = (8, 16, 32)
SIDES = ((8, 12), (4, 6), (2, 3))  # of 64 x 96 px
WIDTH, HEIGHT = 96, 64
CLASSES = 3

#: (map, anchor, row, column)
Place = tuple[int, int, int, int]


def scene(numbers: np.random.Generator, rows: int, *, crowded: bool) -> Tensor:
    """Labels (rows, 6): objects, difficult ones and empty rows in any order; `crowded` in few cells and few shapes."""
    centres = numbers.choice([[12, 12], [13, 14], [96, 64], [50, 30]], rows) if crowded else None
    labels = torch.zeros(rows, 6)
    for row in range(rows):
        width, height = (20, 20 + row % 2) if crowded else numbers.uniform(2, 60, 2)
        x, y = numbers.uniform(0, [WIDTH, HEIGHT]) if centres is None else centres[row]
        labels[row] = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2, 0, 0])
        labels[row, 4], labels[row, 5] = int(numbers.integers(-1, CLASSES)), float(numbers.random() < 0.2)
    return labels


def shape_iou(width: float, height: float, anchor: Tensor) -> float:
    other_width, other_height = anchor.tolist()
    both = min(width, other_width) * min(height, other_height)
    return both / (width * height + other_width * other_height - both)


def by_loops(labels: Tensor, also: float | None) -> dict[Place, int]:
    """Which row of labels (M, 6) a place says: the notes' rule in their words."""
    wishes: dict[int, list[tuple[float, Place]]] = {}
    for row, (x1, y1, x2, y2, label, difficult) in enumerate(labels.tolist()):
        if label < 0 or difficult:
            continue
        wishes[row] = []
        for level, (stride, (rows, columns)) in enumerate(zip(STRIDES, SIDES, strict=True)):
            column = min(math.floor((x1 + x2) / 2 / stride), columns - 1)
            line = min(math.floor((y1 + y2) / 2 / stride), rows - 1)
            for number, anchor in enumerate(ANCHORS[level]):
                wishes[row].append((shape_iou(x2 - x1, y2 - y1, anchor), (level, number, line, column)))
    taken: dict[Place, int] = {}
    for row, wished in wishes.items():
        free = [(fit, place) for fit, place in wished if place not in taken]
        if free:
            taken[max(free, key=lambda pair: pair[0])[1]] = row
    best = set(taken)
    for row, wished in wishes.items() if also is not None else ():
        for fit, place in wished:
            if fit > (also or 0) and place not in best:
                taken.setdefault(place, row)
    return taken


def number_of(place: Place) -> int:
    """The number of a slot."""
    level, anchor, row, column = place
    before = sum(rows * columns for rows, columns in SIDES[:level]) * ANCHORS.shape[1]
    return before + (row * SIDES[level][1] + column) * ANCHORS.shape[1] + anchor


def detector(**changed: Any) -> Yolo:
    """A small one with the maps and anchors of this file."""
    settings: dict[str, Any] = {"levels": [3, 4, 5], "anchors": ANCHORS.flatten().tolist()}
    settings |= {"assign": "best", "ignore": "none"}
    neck = {"name": "fpn", "width": 8}
    backbone = {"name": "resnet18", "width": 8, "stem": "imagenet"}
    wiring: dict[str, Any] = {"num_classes": CLASSES, "image_size": HEIGHT}
    network = build_model("yolo_tiny", **wiring, neck=neck, backbone=backbone, **(settings | changed))
    assert isinstance(network, Yolo)
    return network


def silence(network: Yolo, images: int) -> tuple[Tensor, ...]:
    """Raw maps that say no object anywhere."""
    maps = tuple(torch.zeros(images, 2 * (5 + CLASSES), *side) for side in SIDES)
    for level in maps:
        level.unflatten(1, (2, -1))[:, :, 4] = -20
    return maps


def say(raw: tuple[Tensor, ...], image: int, place: Place) -> Tensor:
    """The numbers (5 + K,) of a place, to be written to."""
    level, anchor, row, column = place
    return raw[level].unflatten(1, (2, -1))[image, anchor, :, row, column]


def only(network: Yolo, raw: Any, labels: Tensor) -> MatchedTargets:
    (stage,) = network.match_targets(raw, labels)
    return stage


def each(loss: str, given: Tensor, expected: Tensor) -> Tensor:
    """The loss of each row."""
    made: Any = build_loss(loss)
    return made.each(given, expected)


@pytest.mark.parametrize("also", [None, 0.2])
@pytest.mark.parametrize("crowded", [False, True])
def test_assignment_is_that_of_loops(crowded: bool, also: float | None) -> None:
    numbers = np.random.default_rng(0)
    labels = torch.stack([scene(numbers, 16, crowded=crowded) for _ in range(40)])
    assigned = assign(objects(labels), SIDES, STRIDES, ANCHORS, extra_iou=also)
    conflicts = 0
    for image, rows in enumerate(labels):
        expected = {number_of(place): row for place, row in by_loops(rows, also).items()}
        slots, positive = assigned.slots[image], assigned.positive[image]
        found = [(int(slots[row, each]), int(row)) for row, each in positive.nonzero().tolist()]
        assert len(found) == len(dict(found))
        assert dict(found) == expected
        conflicts += len(rows) - len({tuple(row) for row in rows[:, :4].tolist()})
    assert (conflicts > 100) == crowded


def test_an_object_that_finds_every_place_taken_is_left_out() -> None:
    same = torch.tensor([[10.0, 10, 30, 30, 0, 0]]).repeat(8, 1)
    assigned = assign(objects(same[None]), SIDES, STRIDES, ANCHORS, extra_iou=None)
    assert assigned.positive.flatten().tolist() == [True] * 6 + [False] * 2
    assert len(set(assigned.slots.flatten()[:6].tolist())) == 6
    assert only(detector(), silence(detector(), 1), same[None]).matched == 6


@pytest.mark.parametrize("assigned", ["best", "all"])
@pytest.mark.parametrize(("offsets", "scale"), [("log", 1.0), ("log", 1.1), ("ratio", 1.0), ("direct", 1.2)])
def test_who_says_the_targets_is_right(offsets: str, scale: float, assigned: str) -> None:
    """Raw maps made by hand from the boxes decode to them, and no loss finds fault."""
    network = detector(offsets=offsets, grid_scale=scale, assign=assigned)
    numbers = np.random.default_rng(1)
    labels = torch.stack([scene(numbers, 6, crowded=False) for _ in range(8)])
    raw = silence(network, len(labels))
    places = [by_loops(rows, 0.213 if assigned == "all" else None) for rows in labels]
    for image, taken in enumerate(places):
        for place, row in taken.items():
            level, anchor, line, column = place
            x1, y1, x2, y2, label, _ = labels[image, row].double()
            target = say(raw, image, place)
            for axis, (low, high, cell) in enumerate(((x1, x2, column), (y1, y2, line))):
                share = ((low + high) / 2 / STRIDES[level] - cell + (scale - 1) / 2) / scale
                unit = (WIDTH, HEIGHT)[axis] if offsets == "direct" else ANCHORS[level, anchor, axis]
                size = (high - low) / unit
                target[axis], target[2 + axis] = share.logit(), size.log() if offsets == "log" else size
            target[4], target[5:] = 20, -20
            target[5 + int(label)] = 20
    stage = only(network, raw, labels)
    positive = stage.box_weights > 0
    assert positive.sum() == stage.matched == sum(map(len, places)) > 20
    for loss, given, expected in (
        ("mse", stage.offsets, stage.offset_targets),
        ("ciou", stage.boxes, stage.box_targets),
        ("bce", stage.scores, F.one_hot(stage.classes, CLASSES).float()),
    ):
        assert each(loss, given, expected)[positive].max() < 1e-4
    assert ((stage.objectness > 0) == stage.objectness_targets.bool()).all()
    boxes, scores = network.candidates(raw)
    for image, taken in enumerate(places):
        confident = scores[image].amax(1) > 0.5
        assert confident.sum() == len(taken)
        for place, row in taken.items():
            slot = number_of(place)
            assert scores[image, slot].argmax() == labels[image, row, 4]
            torch.testing.assert_close(boxes[image, slot], labels[image, row, :4], atol=1e-2, rtol=0)


def test_small_boxes_weigh_more() -> None:
    labels = pad_labels([torch.tensor([[0.0, 0, 48, 32, 0, 0], [0, 0, 96, 64, 1, 0], [8, 8, 9, 9, 2, 0]])])
    weights = only(detector(), silence(detector(), 1), labels).box_weights
    torch.testing.assert_close(weights, torch.tensor([2 - 0.25, 1, 2 - 1 / (96 * 64)]))
    assert only(detector(small_weight=False), silence(detector(), 1), labels).box_weights.tolist() == [1, 1, 1]


@pytest.mark.parametrize("ignore", ["prediction", "prior", "none"])
def test_only_negatives_that_overlap_no_object_are_taught(ignore: str) -> None:
    network = detector(ignore=ignore, ignore_iou=0.3)
    numbers = np.random.default_rng(2)
    labels = torch.stack([scene(numbers, 5, crowded=False) for _ in range(6)])
    raw = tuple(torch.from_numpy(numbers.normal(0, 0.5, level.shape)).float() for level in silence(network, 6))
    stage = only(network, raw, labels)
    weights = stage.objectness_weights.view(6, -1)
    boxes, _ = network.candidates(silence(network, 6) if ignore == "prior" else raw)
    ignored = 0
    for image, rows in enumerate(labels):
        there = rows[:, 4] >= 0
        near = rows[there & (rows[:, 5] > 0) if ignore == "none" else there]
        expected = torch.ones(weights.shape[1])
        if len(near):
            expected[box_iou(boxes[image], near[:, :4]).amax(1) > 0.3] = 0
        expected[[number_of(place) for place in by_loops(rows, None)]] = 1
        assert weights[image].tolist() == expected.tolist()
        ignored += int((expected == 0).sum())
    assert ignored > 10


def test_overlaps_of_many_images_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(3)
    found = objects(torch.stack([scene(numbers, 5, crowded=False) for _ in range(7)]))
    boxes = torch.stack([scene(numbers, 30, crowded=False)[:, :4] for _ in range(7)])
    expected = overlaps(boxes, found.boxes, found.there)
    monkeypatch.setattr("dlzoo.tasks.detection.yolo_assigner._PAIRS", 300)
    assert torch.equal(overlaps(boxes, found.boxes, found.there), expected)
    for image in range(7):
        pairs = box_iou(boxes[image], found.boxes[image]) * found.there[image]
        torch.testing.assert_close(expected[image], pairs.amax(1))


#: Nothing, no area, beyond the border, all of the picture, and larger than it.
ODD = [
    torch.zeros(0, 6),
    torch.tensor([[10.0, 10, 10, 10, 0, 0], [20, 20, 10, 10, 1, 0], [5, 5, 9, 5, 1, 0]]),
    torch.tensor([[90.0, 60, 102, 68, 0, 0], [-8, -8, 4, 4, 1, 0], [96, 64, 96.1, 64.1, 2, 0]]),
    torch.tensor([[0.0, 0, 96, 64, 2, 0], [0, 0, 96, 64, 2, 1], [-500, -500, 900, 900, 0, 0]]),
    torch.tensor([[0.0, 0, 0, 0, -1, 0], [1, 1, 1.001, 1.001, 0, 0], [0, 0, 0, 0, -1, 0]]),
]


@pytest.mark.parametrize("exclusive", [False, True])
def test_no_object_and_no_prediction_breaks_a_gradient(exclusive: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    for assigned, ignore, offsets in product(("best", "all"), ("prediction", "prior"), ("log", "ratio", "direct")):
        network = detector(assign=assigned, ignore=ignore, offsets=offsets, softmax_classes=exclusive)
        shapes = [level.shape for level in silence(network, len(ODD))]
        check_gradients(network, shapes, 1.0, generator)
        check_gradients(network, shapes, 100.0, generator)


def check_gradients(network: Yolo, shapes: list[torch.Size], size: float, generator: torch.Generator) -> None:
    """Of outputs of a size: finite, and candidates within their limits."""
    raw = tuple((size * torch.randn(shape, generator=generator)).requires_grad_() for shape in shapes)
    stage = only(network, raw, pad_labels(ODD))
    assert stage.matched == (stage.class_weights > 0).sum() > 0
    losses = [
        each("mse", stage.offsets, stage.offset_targets) * stage.box_weights,
        each("ciou", stage.boxes, stage.box_targets) * stage.box_weights,
        each("cross_entropy", stage.scores, stage.classes) * stage.class_weights,
        F.binary_cross_entropy_with_logits(
            stage.objectness, stage.objectness_targets, stage.objectness_weights, reduction="none"
        ),
    ]
    torch.cat(losses).sum().backward()
    for level in raw:
        assert level.grad is not None and level.grad.isfinite().all()
    boxes, scores = network.candidates(raw)
    assert boxes.isfinite().all() and scores.min() >= 0 and scores.max() <= 1


def test_no_objects_at_all() -> None:
    network = detector(ignore="prediction")
    stage = only(network, silence(network, 2), pad_labels([torch.zeros(0, 6)] * 2))
    assert stage.matched == stage.box_weights.sum() == stage.class_weights.sum() == 0
    assert stage.objectness_weights.min() == 1 and stage.objectness_targets.max() == 0


@pytest.mark.parametrize("assigned", ["best", "all"])
def test_nothing_waits_for_the_device(assigned: str) -> None:
    """On the meta device there are no values: whoever asks for one fails."""
    with torch.device("meta"):
        network = detector(assign=assigned, ignore="prediction")
        raw = network(torch.empty(2, 3, HEIGHT, WIDTH))
        stage = only(network, raw, torch.empty(2, 5, 6))
        boxes, scores = network.candidates(raw)
    each = 6 if assigned == "all" else 1
    slots = 2 * sum(rows * columns for rows, columns in SIDES)
    assert [tuple(level.shape[2:]) for level in raw] == list(SIDES)
    assert stage.boxes.shape == (2 * 5 * each, 4) and stage.scores.shape == (2 * 5 * each, CLASSES)
    assert stage.objectness.shape == (2 * slots,)
    assert boxes.shape == (2, slots, 4) and scores.shape == (2, slots, CLASSES)


def test_classes_that_exclude_each_other_share_the_score() -> None:
    raw = tuple(torch.randn(2, 2 * (5 + CLASSES), *side) for side in SIDES)
    (_, alone), (_, shared) = (detector(softmax_classes=exclusive).candidates(raw) for exclusive in (False, True))
    said = torch.cat([level.permute(0, 2, 3, 1).reshape(2, -1, 5 + CLASSES) for level in raw], dim=1)
    torch.testing.assert_close(shared.sum(-1), said[..., 4].sigmoid())
    torch.testing.assert_close(alone, said[..., 4:5].sigmoid() * said[..., 5:].sigmoid())


@pytest.mark.parametrize("offsets", ["log", "ratio", "direct"])
def test_a_fresh_network_says_its_anchors_and_few_objects(offsets: str) -> None:
    """Up to what the last convolution adds, which begins small."""
    network = detector(offsets=offsets)
    for head in network.head:
        assert isinstance(head, nn.Conv2d)
        nn.init.zeros_(head.weight)
    boxes, scores = network.eval().candidates(network(torch.zeros(1, 3, HEIGHT, HEIGHT)))
    slots = grid([(8, 8), (4, 4), (2, 2)], STRIDES, ANCHORS)
    torch.testing.assert_close(boxes[0, :, 2:] - boxes[0, :, :2], slots.priors)
    torch.testing.assert_close((boxes[0, :, 2:] + boxes[0, :, :2]) / 2, (slots.cells + 0.5) * slots.strides)
    assert scores.max() < 0.01


@pytest.mark.parametrize("offsets", ["log", "ratio", "direct"])
def test_decoding_undoes_encoding(offsets: Any) -> None:
    slots = grid(SIDES, STRIDES, ANCHORS)
    boxes = torch.stack([scene(np.random.default_rng(seed), 1, crowded=False)[0, :4] for seed in range(252)])
    coding = BoxCoder(offsets)
    torch.testing.assert_close(coding.decode(coding.encode(boxes, slots), slots), boxes, atol=1e-3, rtol=1e-4)


def test_anchors_are_sorted_and_shared_out() -> None:
    sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 60 + 4

    def anchors(name: str = "yolo_tiny", **settings: Any) -> Tensor:
        return build_model(name, num_classes=2, image_size=208, **settings).get_buffer("anchors")

    paper = anchors(anchors="paper", levels=[3, 4, 5])
    assert paper.tolist() == (torch.tensor(PAPER).view(3, 3, 2) / 2).tolist()
    assert anchors(anchors="paper", levels=[5]).shape == (1, 9, 2)
    for found in (anchors(sizes=sizes), anchors(), anchors(anchors=[50, 50, 9, 9, 20, 30, 5, 5])):
        area = found.prod(-1).flatten()
        assert (area.diff() >= 0).all() and area[0] > 0
    assert anchors(sizes=sizes).shape == anchors().shape == (2, 3, 2)
    assert torch.equal(anchors(sizes=sizes), anchors(sizes=sizes))
    assert anchors(sizes=sizes).min() >= 4 and anchors(sizes=sizes).max() <= 64
    saved = build_model("yolo_tiny", num_classes=2, image_size=208, sizes=sizes).state_dict()
    fresh = build_model("yolo_tiny", num_classes=2, image_size=208)
    fresh.load_state_dict(saved)
    assert torch.equal(fresh.get_buffer("anchors"), saved["anchors"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"levels": []}, r"model.levels=\[\] must count up"),
        ({"levels": [3, 5]}, r"model.levels=\[3, 5\] must count up"),
        ({"levels": [4, 3]}, "must count up"),
        ({"anchors": "paper"}, r"model.anchors=paper has 18 numbers .* do not divide evenly among 2 level"),
        ({"anchors": [10, 10, 20]}, r"model.anchors=\[10.0, 10.0, 20.0\] has 3 numbers"),
        ({"anchors": []}, "has 0 numbers"),
        ({"grid_scale": 0.5}, "grid_scale must be a number >= 1"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], words: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=words):
        build_model("yolo_tiny", num_classes=2, image_size=64, **settings)


@pytest.mark.parametrize(("name", "size", "parameters"), [("yolov3", 416, 61_949_149), ("yolov4", 608, 64_363_101)])
def test_parameters_are_those_of_darknet(name: str, size: int, parameters: int) -> None:
    with torch.device("meta"):
        network = build_model(name, num_classes=80, image_size=size)
        shapes = [tuple(level.shape) for level in network(torch.empty(2, 3, size, size))]
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert shapes == [(2, 255, size // stride, size // stride) for stride in STRIDES]


#: A small form of each entry.
SMALL: dict[str, dict[str, Any]] = {
    "yolov3": {"backbone": {"name": "darknet53", "width": 4, "stem": "imagenet"}},
    "yolov4": {"backbone": {"name": "cspdarknet53", "width": 4, "stem": "imagenet"}},
    "yolo_tiny": {},
}


@pytest.mark.parametrize(
    ("name", "neck"), [*(("yolov3", neck) for neck in NECKS.names()), ("yolov4", "pan"), ("yolo_tiny", "fpn")]
)
def test_every_part_goes_in(name: str, neck: str) -> None:
    parts = {"norm": "gn", "act": "mish", "attention": "se", "conv": "separable", "drop": "dropout"}
    parts |= {"neck": {"name": neck, "width": 16}}
    with torch.device("meta"):
        network = build_model(name, num_classes=2, image_size=64, **SMALL[name], **parts)
        maps = network.train()(torch.empty(2, 3, 96, 64))
    assert isinstance(network, Yolo)
    expected = [(2, network.anchors.shape[1] * 7, 96 // stride, 64 // stride) for stride in network.strides]
    assert [tuple(level.shape) for level in maps] == expected
    for of_part in (network.backbone, network.mix):
        assert any(isinstance(module, GroupNorm) for module in of_part.modules())
    assert not any(isinstance(module, nn.BatchNorm2d | CrossMiniBatchNorm) for module in network.modules())


def test_a_step_of_each_teaches_every_parameter() -> None:
    labels = pad_labels([torch.tensor([[8.0, 8, 40, 56, 0, 0]]), torch.tensor([[30.0, 10, 60, 30, 1, 0]])])
    for name, settings in SMALL.items():
        torch.manual_seed(0)
        network = build_model(name, num_classes=2, image_size=64, assign="all", **settings).train()
        for module in network.modules():
            if isinstance(module, CrossMiniBatchNorm):
                module.begin_step()
        assert isinstance(network, Yolo)
        stage = only(network, network(torch.randn(2, 3, 64, 64)), labels)
        boxes = (stage.offsets - stage.offset_targets).square().sum(1) @ stage.box_weights
        classes = stage.scores.square().sum(1) @ stage.class_weights
        (boxes + classes + stage.objectness.square().sum()).backward()
        silent = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
        assert not silent, f"{name}: {silent}"


def test_yolov4_has_the_noise_and_the_norm_of_its_paper() -> None:
    with torch.device("meta"):
        network = build_model("yolov4", num_classes=2, image_size=64, **SMALL["yolov4"])
    assert isinstance(network, Yolo)
    for part in (network.neck, network.mix):
        kinds = {type(module).__name__ for module in part.modules()}
        assert {"CrossMiniBatchNorm", "DropBlock"} <= kinds
