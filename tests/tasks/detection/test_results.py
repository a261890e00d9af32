"""The files of an evaluated detector: what is measured can be measured again from them, by COCO's own tools."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from dlzoo.boxes.objects import pad_labels
from dlzoo.builder.evaluate import evaluate
from dlzoo.data.box_set import BoxSet, Source
from dlzoo.data.split import Split
from dlzoo.data.splits import Splits
from dlzoo.tasks.detection.metrics.summary import detection_metrics
from dlzoo.tasks.detection.results import write_results
from tests.small import TINY, train

CLASSES = ("cat", "dog", "é")
FILES = ("coco_ground_truth.json", "coco_results.json", "detections.json")


def scene(images: int, objects: int = 6, found: int = 20) -> tuple[Tensor, Tensor]:
    """Detections (images, found, 6), the last of score 0, near the objects of labels (images, objects, 6)."""
    numbers = np.random.default_rng(0)
    low = numbers.uniform(0, 300, (images, objects, 2))
    corners = np.concatenate([low, low + numbers.uniform(5, 140, (images, objects, 2))], -1)
    kinds = numbers.integers(0, len(CLASSES), (images, objects))
    difficult = numbers.random((images, objects)) < 0.2
    labels = np.concatenate([corners, kinds[..., None], difficult[..., None]], -1)
    which = numbers.integers(0, objects, (images, found))
    places = np.arange(images)[:, None]
    boxes = corners[places, which] + numbers.normal(0, 4, (images, found, 4))
    scores = numbers.random((images, found))
    scores[:, -1] = 0
    seen = np.where(numbers.random((images, found)) < 0.7, kinds[places, which], 0)
    return torch.from_numpy(np.concatenate([boxes, scores[..., None], seen[..., None]], -1)).float(), pad_labels(
        list(torch.from_numpy(labels).float())
    )


def splits(labels: Tensor, sources: list[Source] | None, categories: tuple[int, ...] = ()) -> Splits:
    """Splits of which the test images are the data set's in reverse."""
    count = len(labels)
    rows = None if sources is None else torch.arange(count).flip(0)
    test = Split(torch.zeros(count, 1, 1, 3, dtype=torch.uint8), labels, torch.full((count, 2), 440), rows)
    data = BoxSet(test, test, CLASSES, sources=sources or (), categories=categories)
    return Splits(test, None, test, data, 1)


def average_precisions(folder: Path) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "coco_ground_truth.json")
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "coco_results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


def read(folder: Path) -> tuple[dict, list, list]:
    truth, results, detections = (json.loads((folder / name).read_text()) for name in FILES)
    return truth, results, detections


SOURCES = [Source(f"deep/{number}.jpg", 1000 + 7 * number) for number in range(12)]
NAMED = [Source(source.file) for source in SOURCES]


@pytest.mark.parametrize(
    ("sources", "categories", "images", "kinds"),
    [
        (SOURCES, (90, 3, 17), [1000 + 7 * number for number in range(11, -1, -1)], [90, 3, 17]),
        (NAMED, (), list(range(1, 13)), [1, 2, 3]),
        (None, (), list(range(1, 13)), [1, 2, 3]),
        ([*SOURCES[:-1], NAMED[-1]], (), list(range(1, 13)), [1, 2, 3]),  # one has no id
        ([*SOURCES[:-1], SOURCES[0]], (), list(range(1, 13)), [1, 2, 3]),  # two have the same
    ],
    ids=["ids", "files", "drawn", "some ids", "equal ids"],
)
def test_the_metrics_can_be_computed_again(
    sources: list[Source] | None, categories: tuple[int, ...], images: list[int], kinds: list[int], tmp_path: Path
) -> None:
    detections, labels = scene(12)
    write_results(tmp_path, detections, labels, splits(labels, sources, categories))
    truth, results, described = read(tmp_path)
    assert [each["id"] for each in truth["images"]] == images
    assert [(each["id"], each["name"]) for each in truth["categories"]] == list(zip(kinds, CLASSES, strict=True))
    assert {each["image_id"] for each in results} == set(images)
    assert [each["image"] for each in described] == list(range(12))
    names = None if sources is None else [source.file for source in reversed(sources)]
    assert [each.get("file") for each in described] == (names or [None] * 12)
    assert [each.get("file_name") for each in truth["images"]] == (names or [None] * 12)
    measured = detection_metrics(detections, labels, len(CLASSES))
    keys = ("map_coco", "map50_coco", "map75_coco", "map_small_coco", "map_medium_coco", "map_large_coco")
    assert average_precisions(tmp_path) == pytest.approx([measured[key] for key in keys], abs=5e-5)


def test_all_digits_of_a_float32_are_there_and_no_more(tmp_path: Path) -> None:
    detections, labels = scene(3)
    detections[0, 0] = torch.tensor([0.1, 1 / 3, 123.456789, 1e-8, 0.30000001, 2])
    write_results(tmp_path, detections, labels, splits(labels, None))
    described = read(tmp_path)[2]
    rows = [
        [[*one["box"], one["score"], CLASSES.index(one["name"])] for one in image["objects"]] for image in described
    ]
    assert torch.equal(torch.tensor(rows), detections[:, :-1])  # without the one of score 0
    assert described[0]["objects"][0]["box"] == [0.1, 0.33333334, 123.45679, 1e-08]


@pytest.mark.parametrize("found", [0, 1])
def test_nothing_detected_is_a_list_without_entries(found: int, tmp_path: Path) -> None:
    detections, labels = scene(2)
    detections[:, found:, 4] = 0
    write_results(tmp_path, detections, labels, splits(labels, None))
    truth, results, described = read(tmp_path)
    assert len(results) == 2 * found
    assert [len(each["objects"]) for each in described] == [found] * 2
    assert len(truth["annotations"]) == labels[..., 4].ge(0).sum()


def test_the_files_are_written_image_by_image(tmp_path: Path) -> None:
    detections, labels = scene(20, found=100)
    data = splits(labels, [Source("x.png")] * 20)
    tracemalloc.start()
    write_results(tmp_path, detections, labels, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000, "2,000 detections as dicts are 1.5 MB"
    assert len(read(tmp_path)[1]) == 20 * 99


def test_eval_writes_them(tmp_path: Path) -> None:
    run = train(*TINY, "model=yolo_tiny", "trainer.max_epochs=1", "nms.min_score=0.001")
    measured = evaluate(str(run.dir))
    folder = run.dir / "eval"
    assert {"metrics.json", *FILES} <= {path.name for path in folder.iterdir()}
    ours = [measured["test/map_coco"], measured["test/map50_coco"], measured["test/map75_coco"]]
    assert average_precisions(folder)[:3] == pytest.approx(ours, abs=5e-5)
