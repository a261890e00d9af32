"""Labels of batches: with as many rows as the fullest image of each, and nothing else changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dlzoo
from dlzoo.boxes.objects import count_rows, objects, pad_labels
from dlzoo.builder.model import build
from dlzoo.core.registries import BOX_LOSSES, LOSSES
from dlzoo.core.rng import Streams
from dlzoo.data.batch_labels import BatchLabels
from dlzoo.data.loader import TrainLoader
from dlzoo.data.split import Split
from dlzoo.data.transforms.batch import Normalise
from dlzoo.tasks.detection.losses import DetectionLoss, Terms
from dlzoo.tasks.detection.models.detector import Detector
from dlzoo.tasks.detection.transforms import BoxMixer, BoxTransform

SIDE = 64


def labels_of(*counts: int, rows: int | None = None) -> Tensor:
    """Labels of images with so many objects, padded to `rows`."""
    draw = torch.Generator().manual_seed(0)
    images = []
    for count in counts:
        low = torch.rand(count, 2, generator=draw) * 40
        sides = 4 + torch.rand(count, 2, generator=draw) * 20
        kinds = torch.stack([torch.arange(count) % 3, torch.arange(count) % 7 == 6], 1)
        images.append(torch.cat([low, low + sides, kinds.float()], 1))
    labels = pad_labels(images)
    empty = torch.tensor([0.0, 0, 0, 0, -1, 0]).expand(len(labels), max(0, (rows or 0) - labels.shape[1]), 6)
    return torch.cat([labels, empty], 1)


@pytest.mark.parametrize(
    ("counts", "samples", "rows"),
    [
        ((3, 0, 1500, 2), [0, 1, 3], 3),
        ((3, 0, 1500, 2), [0, 2], 1500),
        ((3, 0, 1500, 2), [2], 1500),
        ((3, 0, 1500, 2), [1], 1),
        ((3, 0, 101, 2), [3, 1, 3], 2),
        ((3, 0, 100, 2), [0, 1, 3], 100),
        ((3, 0, 9, 2), [0, 1], 9),
    ],
)
def test_a_batch_of_a_crowded_set_has_the_rows_of_its_fullest_image(
    counts: tuple[int, ...], samples: list[int], rows: int
) -> None:
    whole = labels_of(*counts)
    indices = torch.tensor(samples)
    part = BatchLabels(whole).take(indices, lambda: indices)
    assert part.shape == (len(samples), rows, 6) and part.is_contiguous()
    assert torch.equal(part, whole[indices][:, :rows])
    assert int(objects(part).there.sum()) == sum(counts[index] for index in samples)


@pytest.mark.parametrize("labels", [torch.arange(9), torch.rand(9, 200)])
def test_other_labels_are_taken_as_they_are(labels: Tensor) -> None:
    samples = torch.tensor([4, 0, 4])
    assert torch.equal(BatchLabels(labels).take(samples, lambda: samples), labels[samples])


def test_rows_end_with_the_last_object() -> None:
    labels = labels_of(2, 0, 3, rows=5)
    labels[2, 1, 4] = -1  # a gap
    assert count_rows(labels).tolist() == [2, 0, 3]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_batches_of_an_epoch_have_all_objects(accumulate: int) -> None:
    counts = [3, 1, 140, 0, 2, 5, 4, 1, 0, 2, 6, 1]
    split = Split(torch.zeros(12, 8, 8, 3, dtype=torch.uint8), labels_of(*counts), torch.full((12, 2), 8))
    transform = BoxTransform(build("augment", "none"), Normalise(torch.zeros(3), torch.ones(3)), BoxMixer())
    loader = TrainLoader(split, transform, Streams(0), 4, accumulate)
    batches = [batch for step in range(3) for batch in loader.batches(step)]
    assert sum(int(objects(batch.labels).there.sum()) for batch in batches) == sum(counts)
    assert sorted({batch.labels.shape[1] for batch in batches})[-1] == 140
    assert sum(batch.labels.shape[1] == 140 for batch in batches) == accumulate


def losses(network: Detector, outputs: object, labels: Tensor) -> tuple[Terms, list[Tensor]]:
    """The terms of a detector's loss, and their gradients."""
    kind = "cross_entropy" if getattr(network, "softmax_classes") else "bce"  # noqa: B009
    loss = DetectionLoss(BOX_LOSSES["ciou"].build(), LOSSES[kind].build(), on_offsets=False)
    network.zero_grad()
    terms = loss(network.match_targets(outputs, labels))
    torch.stack(terms).sum().backward(retain_graph=True)
    return terms, [each.grad.clone() for each in network.parameters() if each.grad is not None]


@pytest.mark.parametrize("name", ["yolo_tiny", "retinanet", "ssd300"])
def test_gradients_do_not_depend_on_the_padding(name: str) -> None:
    torch.manual_seed(0)
    backbone: dict[str, Any] = {} if name == "yolo_tiny" else {"backbone": {"name": "resnet18", "width": 16}}
    network = dlzoo.build_model(name, num_classes=3, image_size=SIDE, **backbone)
    assert isinstance(network, Detector)
    outputs = network(torch.rand(3, 3, SIDE, SIDE))
    whole = labels_of(2, 30, 7, rows=300)
    samples = torch.arange(3)
    part = BatchLabels(whole).take(samples, lambda: samples)
    assert part.shape[1] == 30
    (terms, gradients), (padded, expected) = (losses(network, outputs, labels) for labels in (part, whole))
    assert all(torch.equal(one, other) for one, other in zip(gradients, expected, strict=True))
    assert torch.allclose(torch.stack(terms), torch.stack(padded), rtol=1e-6)
