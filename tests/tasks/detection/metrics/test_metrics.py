"""Average precision against COCO's tools and loops over what the VOC devkit describes; kinds of errors by hand."""

import contextlib
import io
import json
import logging
import math
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest
import torch
from torch import Tensor

from dlzoo.boxes.objects import pad_labels
from dlzoo.core import index
from dlzoo.tasks.detection.metrics import coco_matching, matching
from dlzoo.tasks.detection.metrics.coco import coco_metrics, undefined_metrics
from dlzoo.tasks.detection.metrics.error_types import KINDS
from dlzoo.tasks.detection.metrics.evaluation import DetectionEvaluation
from dlzoo.tasks.detection.metrics.pairs import expand, split_rows
from dlzoo.tasks.detection.metrics.summary import by_class, detection_metrics, precision_recall

CLASSES = 3
SIZES = ("map_small_coco", "map_medium_coco", "map_large_coco")
COCO_NAMES = ("map_coco", "map50_coco", "map75_coco", *SIZES)


def scene(seed: int, pictures: int = 5, most: int = 5, side: int = 16, scores: int = 6) -> tuple[Tensor, Tensor]:
    """Detections and labels on a grid, so that overlaps are exact: near objects and anywhere, many of the same score.

    Some pictures have no object, some no detection; rows of nothing are anywhere.
    """
    draw = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=draw).float()

    def boxes(count: int) -> Tensor:
        corner = whole(0, side, pictures, count, 2)
        return torch.cat([corner, corner + whole(3, 2 * side // 3, pictures, count, 2)], -1)

    classes = whole(-1, CLASSES, pictures, most, 1)
    labels = torch.cat([boxes(most), classes, (whole(0, 4, pictures, most, 1) == 0).float()], -1)
    jitter = side // 12
    near = labels.repeat(1, 3, 1)
    near[..., :4] += whole(-jitter, jitter + 1, pictures, 3 * most, 4) * whole(0, 2, pictures, 3 * most, 1)
    near[..., 4] = whole(0, scores, pictures, 3 * most) / scores
    wrong = whole(0, 4, pictures, 3 * most) == 0
    near[..., 5] = torch.where(wrong, whole(0, CLASSES, pictures, 3 * most), classes[..., 0].repeat(1, 3).clamp_min(0))
    far = torch.cat(
        [boxes(most), whole(0, scores, pictures, most, 1) / scores, whole(0, CLASSES, pictures, most, 1)], -1
    )
    detections = torch.cat([near, far], 1)
    labels[whole(0, 5, pictures) == 0, :, 4] = -1
    detections[whole(0, 5, pictures) == 0, :, 4] = 0
    return detections, labels


def distinct(detections: Tensor) -> Tensor:
    """The same with scores that all differ."""
    detections = detections.clone()
    order = torch.randperm(detections[..., 4].numel(), generator=torch.Generator().manual_seed(0))
    detections[..., 4] *= 1 - order.view(detections.shape[:2]) / (10 * len(order))
    return detections


def measured(detections: Tensor, labels: Tensor, classes: int = CLASSES) -> dict[str, float]:
    return detection_metrics(detections, labels, classes)


def rows_of(pictures: Tensor, column: int, least: float) -> list[tuple[int, list[float]]]:
    return [(number, row) for number, rows in enumerate(pictures.tolist()) for row in rows if row[column] >= least]


def overlap(a: list[float], b: list[float]) -> Fraction:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return Fraction(0)
    both = Fraction(width * height)
    return both / (Fraction((a[2] - a[0]) * (a[3] - a[1])) + Fraction((b[2] - b[0]) * (b[3] - b[1])) - both)


def voc(detections: Tensor, labels: Tensor, number: int) -> tuple[float, float] | None:
    """AP by 11 points and by all points of one class, as VOCevaldet and VOCap of the devkit are written."""
    objects = [(picture, row) for picture, row in rows_of(labels, 4, 0) if row[4] == number]
    found = [(picture, row) for picture, row in rows_of(detections, 4, 1e-9) if row[5] == number]
    positives = sum(row[5] == 0 for _, row in objects)
    if positives == 0:
        return None
    taken, precision, recall, true, false = set(), [Fraction(0)], [Fraction(0)], 0, 0
    for picture, row in sorted(found, key=lambda item: -item[1][4]):
        best, place = Fraction(-1), -1
        for number, (its, other) in enumerate(objects):
            if its == picture and 0 < overlap(row, other) > best:
                best, place = overlap(row, other), number
        if best >= Fraction(1, 2):
            if objects[place][1][5] == 0:
                if place not in taken:
                    true += 1
                    taken.add(place)
                else:
                    false += 1
        else:
            false += 1
        if true + false:
            precision.append(Fraction(true, true + false))
            recall.append(Fraction(true, positives))
    eleven = sum(
        max((p for p, r in zip(precision, recall, strict=True) if r >= Fraction(point, 10)), default=Fraction(0))
        for point in range(11)
    )
    precision, recall = [*precision, Fraction(0)], [*recall, Fraction(1)]
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    area = sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))
    return float(eleven / 11), float(area)


@pytest.mark.parametrize("part", range(4))
def test_voc_ap_equals_loops_over_the_devkits_description(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if part == 0:
        monkeypatch.setattr(matching, "_PART", 7)  # pairs are compared a few at a time
    for seed in range(25 * part, 25 * part + 25):
        detections, labels = scene(seed)
        if seed % 25 == 0:
            detections = detections[:, :0]
        expected = [voc(detections, labels, number) for number in range(CLASSES)]
        found = by_class(precision_recall(detections, labels, CLASSES))
        for place, name in enumerate(("ap50_voc07", "ap50_voc10")):
            ours = [math.nan if value is None else value for value in found[name]]
            theirs = [math.nan if pair is None else pair[place] for pair in expected]
            assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True), seed
        there = [pair for pair in expected if pair is not None]
        metrics = measured(detections, labels)
        assert ("map50_voc10" in metrics) == bool(there)
        if there:
            assert metrics["map50_voc07"] == pytest.approx(sum(a for a, _ in there) / len(there), abs=1e-12)
            assert metrics["map50_voc10"] == pytest.approx(sum(b for _, b in there) / len(there), abs=1e-12)


def test_the_random_scenes_have_what_they_should() -> None:
    ignored = hits = duplicates = half = 0
    for seed in range(50):
        matched = matching.match_detections(*scene(seed))
        near = matched.nearest.overlaps >= 0.5
        ignored, hits = ignored + matched.ignored.sum(), hits + matched.hits.sum()
        duplicates += (near & ~matched.hits & ~matched.ignored).sum()
        half += (matched.nearest.overlaps == 0.5).sum()
    assert min(ignored, hits, duplicates) > 100
    assert half > 10


#: Libraries that compute COCO's numbers: the class of a data set, and that of an evaluation.
PYCOCOTOOLS = (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval)
FASTER = (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)


def reference(
    detections: Tensor, labels: Tensor, classes: int = CLASSES, library: tuple[Any, Any] = PYCOCOTOOLS
) -> dict[str, float]:
    """COCO's numbers by a library."""
    dataset, evaluation_of = library

    def annotation(picture: int, row: list[float], class_: float) -> dict:
        box = [row[0], row[1], row[2] - row[0], row[3] - row[1]]
        return {"image_id": picture, "category_id": int(class_), "bbox": box, "area": box[2] * box[3]}

    with contextlib.redirect_stdout(io.StringIO()):
        truth = dataset()
        truth.dataset = {
            "images": [{"id": number} for number in range(len(labels))],
            "categories": [{"id": number} for number in range(classes)],
            "annotations": [
                annotation(picture, row, row[4]) | {"id": number, "iscrowd": int(row[5])}
                for number, (picture, row) in enumerate(rows_of(labels, 4, 0), 1)
            ],
        }
        truth.createIndex()
        found = [annotation(p, row, row[5]) | {"score": row[4]} for p, row in rows_of(detections, 4, 1e-9)]
        evaluation = evaluation_of(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: value for name, value in zip(COCO_NAMES, evaluation.stats[:6], strict=True) if value >= 0}


@pytest.mark.parametrize("side", [24, 100, 250])
def test_coco_ap_equals_pycocotools(side: int) -> None:
    sizes = set()
    for seed in range(12):
        detections, labels = scene(1000 * side + seed, pictures=6, side=side, scores=1000)
        expected = reference(detections, labels)
        found = measured(detections, labels)
        assert {name: found[name] for name in COCO_NAMES if name in found} == pytest.approx(expected, abs=1e-6)
        assert undefined_metrics(labels) == set(SIZES) - set(expected)
        sizes |= set(SIZES) & set(expected)
    assert len(sizes) == {24: 1, 100: 2, 250: 3}[side]


def crowded(seed: int, pictures: int, classes: int) -> tuple[Tensor, Tensor]:
    """150 detections a picture, of sides that are no round numbers, half of them near one of 9 objects."""
    draw = torch.Generator().manual_seed(seed)
    corner = 300 * torch.rand(pictures, 9, 2, generator=draw)
    boxes = torch.cat([corner, corner + 4 + 200 * torch.rand(pictures, 9, 2, generator=draw) ** 2], -1)
    kinds = torch.randint(-1, classes, (pictures, 9, 1), generator=draw)
    labels = torch.cat([boxes, kinds, torch.rand(pictures, 9, 1, generator=draw) < 0.2], -1)
    detections = labels[:, torch.arange(150) % 9]
    jitter = torch.randn(pictures, 150, 4, generator=draw) * 10 ** torch.randint(0, 3, (1, 150, 1), generator=draw)
    detections[..., :4] += jitter
    detections[..., 5] = labels[:, torch.arange(150) % 9, 4].clamp_min(0)
    detections[..., 4] = torch.rand(pictures, 150, generator=draw)
    return detections, labels


SCENES: list[tuple[Callable[[int], tuple[Tensor, Tensor]], int]] = [
    (lambda seed: scene(seed), CLASSES),  # few scores and exact overlaps: ties
    (lambda seed: scene(seed, pictures=8, side=24, most=40, scores=9), CLASSES),
    (lambda seed: scene(seed, pictures=6, side=250, scores=1000), CLASSES),
    (lambda seed: crowded(seed, 4, 1), 1),  # more than 100 detections of a class
    (lambda seed: crowded(seed, 4, 20), 20),
]


@pytest.mark.parametrize("part", [1, 50, 200_000])
@pytest.mark.parametrize("kind", range(len(SCENES)))
def test_coco_equals_faster_coco_eval_to_the_bit(kind: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_matching, "_PART", part)
    make, classes = SCENES[kind]
    for seed in range(8):
        detections, labels = make(100 * kind + seed)
        found = coco_metrics(detections, labels, classes)
        assert len(found) >= 4
        assert found == reference(detections, labels, classes, FASTER), seed


def test_boxes_that_are_none_match_nothing_as_in_faster_coco_eval() -> None:
    odd = torch.tensor([math.nan, math.inf, -math.inf, 3e38])
    for seed in range(8):
        detections, labels = crowded(seed, 4, 3)
        draw = torch.Generator().manual_seed(seed)
        detections[:, ::4, :4] = odd[torch.randint(0, 4, (4, 38, 4), generator=draw)]
        detections[:, 1::4, :4] = detections[:, 1::4, [2, 1, 0, 3]]
        detections[:, 2::8, 2] = detections[:, 2::8, 0]
        found = coco_metrics(detections, labels, 3)
        assert found == reference(detections, labels, 3, FASTER)
        assert found["map_coco"] > 0


def test_rows_are_split_by_their_pairs() -> None:
    draw = np.random.default_rng(0)
    for most in (1, 5, 20, 1000):
        pairs = draw.integers(0, 9, 50)
        parts = list(split_rows(pairs, most))
        assert [row for part in parts for row in range(50)[part]] == list(range(50))
        sizes = [pairs[part].sum() for part in parts]
        assert all(size <= most or part.stop - part.start == 1 for size, part in zip(sizes, parts, strict=True))
        assert all(size + pairs[part.stop] > most for size, part in zip(sizes[:-1], parts[:-1], strict=True))
    assert list(split_rows(np.zeros(0, np.int64), 5)) == []
    rows, others = expand(np.array([7, 0, 3]), np.array([2, 0, 3]))
    assert (rows.tolist(), others.tolist()) == ([0, 0, 2, 2, 2], [7, 8, 3, 4, 5])


def test_memory_of_an_evaluation_is_that_of_its_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy reports its memory, torch does not; Python objects for each box would take more than a kilobyte."""
    for module in (matching, coco_matching):
        monkeypatch.setattr(module, "_PART", 5_000)

    def peak(pictures: int) -> int:
        evaluation = DetectionEvaluation(2)
        evaluation.update(*crowded(0, pictures, 2), range(pictures))
        tracemalloc.start()
        evaluation.compute()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(2)
    assert (peak(200) - peak(50)) / (150 * 150) < 200


def test_coco_counts_the_hundred_surest_of_a_class_in_a_picture() -> None:
    labels = pad_labels([torch.tensor([[0.0, 0.0, 50.0, 50.0, 0.0, 0.0]])])
    detections = torch.tensor([60.0, 60.0, 90.0, 90.0, 0.0, 0.0]).repeat(1, 120, 1)
    detections[0, :, 4] = torch.linspace(0.9, 0.5, 120)
    detections[0, 110, :4] = labels[0, 0, :4]
    assert measured(detections, labels, 1)["map50_coco"] == reference(detections, labels)["map50_coco"] == 0
    detections[0, 99, :4] = labels[0, 0, :4]
    found = measured(detections, labels, 1)["map50_coco"]
    assert found == pytest.approx(reference(detections, labels)["map50_coco"])
    assert found > 0


def test_perfect_detections_are_worth_one_and_have_no_error() -> None:
    _, labels = scene(3, pictures=8, side=200)
    kept = labels.clone()
    kept[..., 4] = torch.where(kept[..., 4] >= 0, 0.9, 0)
    kept[..., 5] = labels[..., 4].clamp_min(0)
    metrics = measured(kept, labels)
    assert set(metrics) == {metric.name for metric in index.marks("task", "detect").metrics}
    assert metrics == pytest.approx({name: float(name.startswith("map")) for name in metrics})
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_order_of_pictures_and_boxes_does_not_matter() -> None:
    for seed in range(10):
        detections, labels = scene(seed, scores=50, side=40)
        draw = torch.Generator().manual_seed(seed)
        detections = distinct(detections)
        detections[..., :4] += torch.rand(detections[..., :4].shape, generator=draw)
        pictures, rows, places = (torch.randperm(size, generator=draw) for size in (5, 20, 5))
        before = measured(detections, labels)
        after = measured(detections[pictures][:, rows], labels[pictures][:, places])
        assert before == pytest.approx(after, abs=1e-12)


def test_nothing_to_find_and_nothing_found(capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    detections, labels = scene(0)
    nothing = torch.zeros_like(detections)
    found = measured(nothing, labels)
    assert {found[name] for name in ("map50_voc10", "map50_voc07", "map_coco", "errors_background")} == {0}
    assert found["errors_missed"] == ((labels[..., 4] >= 0) & (labels[..., 5] == 0)).sum() / len(labels)
    difficult = labels.clone()
    difficult[..., 5] = 1
    for none in (difficult, pad_labels([torch.zeros(0, 6)] * 5)):
        for made in (nothing, detections):
            metrics = measured(made, none)
            assert all(name.startswith("errors_") for name in metrics)
            assert metrics["errors_missed"] == 0
            assert by_class(precision_recall(made, none, CLASSES)) == {
                "ap50_voc10": [None] * 3,
                "ap50_voc07": [None] * 3,
                "objects": [0] * 3,
            }
            assert precision_recall(made, none, CLASSES) == [None] * 3
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_precision_and_recall_by_hand() -> None:
    box, elsewhere = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
    labels = torch.tensor([[[*box, 1, 0], [20.0, 0.0, 30.0, 10.0, 1, 0]]])
    detections = torch.tensor([[[*elsewhere, 0.8, 1], [*box, 0.7, 1], [*box, 0.9, 1], [*box, 0.95, 0]]])
    first, second = precision_recall(detections, labels, 2)
    assert first is None
    assert second is not None
    assert second.recall.tolist() == [0.5, 0.5, 0.5]
    assert second.precision.tolist() == [1, 1 / 2, 1 / 3]
    assert by_class(precision_recall(detections, labels, 2)) == {
        "ap50_voc10": [None, 0.5],
        "ap50_voc07": [None, pytest.approx(6 / 11)],
        "objects": [0, 2],
    }


#: Boxes of 10 x 10 whose IoU with the object at 0, 0 is what the name says.
AT = {1.0: [0, 0, 10, 10], 0.5: [0, 0, 5, 10], 0.49: [0, 0, 4.9, 10], 0.1: [0, 0, 1, 10], 0.09: [0, 0, 0.9, 10]}
OBJECT = [0, 0, 10, 10, 0, 0]


@pytest.mark.parametrize(
    ("detections", "objects", "errors"),
    [
        ([], [OBJECT], {"missed": 1}),
        ([[*AT[0.5], 0.9, 0]], [OBJECT], {}),
        ([[*AT[1.0], 0.29, 0]], [OBJECT], {"missed": 1}),
        ([[*AT[1.0], 0.3, 0]], [OBJECT], {}),
        ([[*AT[1.0], 0.9, 1]], [OBJECT], {"classification": 1}),
        ([[*AT[0.5], 0.9, 1]], [OBJECT], {"classification": 1}),
        ([[*AT[1.0], 0.9, 1]], [OBJECT, [30, 0, 40, 10, 1, 0]], {"classification": 1, "missed": 1}),
        ([[*AT[0.49], 0.9, 0]], [OBJECT], {"localisation": 1}),
        ([[*AT[0.1], 0.9, 0]], [OBJECT], {"localisation": 1}),
        ([[*AT[0.49], 0.9, 1]], [OBJECT], {"both": 1, "missed": 1}),
        ([[*AT[0.09], 0.9, 0]], [OBJECT], {"background": 1, "missed": 1}),
        ([[*AT[0.1], 0.9, 1]], [OBJECT], {"background": 1, "missed": 1}),
        ([[*AT[1.0], 0.9, 0], [*AT[1.0], 0.8, 0], [*AT[0.5], 0.7, 0]], [OBJECT], {"duplicate": 2}),
        (
            [[*AT[1.0], 0.9, 0], [*AT[0.49], 0.8, 0], [*AT[1.0], 0.7, 1]],
            [OBJECT],
            {"localisation": 1, "classification": 1},
        ),
        ([[*AT[0.49], 0.9, 0], [*AT[0.1], 0.8, 0]], [OBJECT, [30, 0, 40, 10, 0, 0]], {"localisation": 2, "missed": 1}),
        # A box that is a bad one for an object of its class, and a good one for one of another.
        ([[*AT[1.0], 0.9, 1]], [OBJECT, [*AT[0.49], 1, 0]], {"localisation": 1, "missed": 1}),
        # Difficult objects.
        ([[*AT[1.0], 0.9, 0], [*AT[0.5], 0.8, 0]], [[*AT[1.0], 0, 1]], {}),
        ([[*AT[1.0], 0.9, 1]], [[*AT[1.0], 0, 1]], {"background": 1}),
        ([[*AT[0.49], 0.9, 0]], [[*AT[1.0], 0, 1], [30, 0, 40, 10, 0, 0]], {"background": 1, "missed": 1}),
    ],
)
def test_kinds_of_errors_by_hand(detections: list, objects: list, errors: dict) -> None:
    labels = pad_labels([torch.tensor(objects).view(-1, 6), torch.zeros(0, 6)])
    found = pad_labels([torch.tensor(detections).view(-1, 6), torch.zeros(0, 6)])
    found[1, :, 4] = found[0, len(detections) :, 4] = 0
    metrics = measured(found, labels, 2)
    counts = {name[7:]: 2 * value for name, value in metrics.items() if name.startswith("errors_") and value}
    assert counts == errors


def test_every_error_is_counted_once() -> None:
    for seed in range(20):
        detections, labels = scene(seed)
        detections[..., 4] += 0.5 * (detections[..., 4] > 0)
        matched = matching.match_detections(detections, labels)
        metrics = measured(detections, labels)
        wrong = (~matched.hits & ~matched.ignored).sum()
        kinds = {name: value for name, value in metrics.items() if name.startswith("errors_")}
        assert sum(kinds.values()) - kinds["errors_missed"] == pytest.approx(wrong / len(labels))
        missed = (~matched.difficult).sum() - matched.hits.sum()
        assert kinds["errors_missed"] <= missed / len(labels)


def test_errors_are_better_when_they_are_fewer() -> None:
    metrics = index.marks("task", "detect").metrics
    assert {metric.name for metric in metrics if not metric.higher_is_better} == {f"errors_{kind}" for kind in KINDS}
