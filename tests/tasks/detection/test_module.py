"""Training steps of detectors: a step split into micro-batches, or among processes, has the loss of the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dlzoo import train
from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose
from dlzoo.data.loader import Batch
from dlzoo.runs.logged import read_metrics
from tests.processes import fork_runs
from tests.small import last_of_each

#: Without dropout and batch statistics; ssd300, which samples nothing at random, with every negative box.
DETECTORS = {
    "retinanet": ["neck.width=16", "model.width=16", "model.depth=1", "optimizer.lr=0.001"],
    "ssd300": ["model.width=32"],
    "yolov3": ["neck.depth=1"],
    "yolov4": ["drop=none", "neck=none"],
}
SMALL = [
    *("data=shapes", "data.train=36", "data.test=4", "data.image_size=64", "data.batch_size=8", "norm=gn"),
    *("data.val_fraction=0", "augment=none", "trainer.max_epochs=1", "trainer.threads=1", "trainer.log_every=1"),
    *("backbone=resnet18", "backbone.width=8", "optimizer.lr=0.0001"),
]
Result = tuple[Tensor, list[Tensor]]


def step(module: object, batches: Sequence[Batch]) -> Result:
    """The mean loss and the mean gradients of micro-batches, as accumulation computes them."""
    network = module.network  # type: ignore[attr-defined]
    network.zero_grad()
    loss = module.loss_of_step(batches)  # type: ignore[attr-defined]
    values = [loss(batch)[0] for batch in batches]
    mean = torch.stack(values).mean()
    mean.backward()
    return mean.detach(), [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("counts", [[3, 0, 1, 0], [0, 0, 0, 0]], ids=["unequal", "backgrounds"])
def test_micro_batches_have_the_loss_of_the_whole_batch(name: str, counts: list[int]) -> None:
    module = Assembled(compose([*SMALL, f"model={name}", *DETECTORS[name]])).module.double()
    whole = next(iter(module.loaders.train.batches(0)))
    whole = whole._replace(images=whole.images[:4].double(), labels=whole.labels[:4].double())
    for image, count in enumerate(counts):
        whole.labels[image, count:, 4] = -1
    parts = [whole._replace(images=whole.images[at], labels=whole.labels[at]) for at in ([0, 1], [2, 3])]
    (one, gradients), (several, others) = step(module, [whole]), step(module, parts)
    assert float(several) == pytest.approx(float(one), rel=1e-6)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, gradient, rtol=1e-4, atol=1e-6)
    if any(counts):
        equal_weights = torch.stack([module.loss(part)[0].detach() for part in parts]).mean()
        assert float(equal_weights) != pytest.approx(float(one), rel=1e-3)


def test_the_first_stage_of_faster_rcnn_counts_the_samples_of_the_whole_step() -> None:
    small = ["neck.width=16", "model.width=16", "model.hidden=[32]", "model.proposals=20", "model.rois=16"]
    network = Assembled(compose([*SMALL, "model=faster_rcnn", *small])).module.network
    batch = next(iter(Assembled(compose(SMALL)).module.loaders.train.batches(0)))
    raw = network(batch.images)
    for labels in (batch.labels, batch.labels[:, :1], batch.labels.index_fill(2, torch.tensor(4), -1)):
        first, second = network.count_matches(raw, labels)
        assert int(first) == int(network.match_targets(raw, labels)[0].matched)
        assert second.isnan()


def first_loss(*overrides: str) -> float:
    run = train(last_of_each([*SMALL, "model=retinanet", *DETECTORS["retinanet"], *overrides]), quiet=True)
    return next(
        record["train/loss"] for record in read_metrics(Path(run.dir, "metrics.jsonl")) if "train/loss" in record
    )


def test_processes_and_micro_batches_have_the_loss_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_runs(monkeypatch)
    alone = first_loss("trainer=cpu")
    assert first_loss("trainer=ddp_cpu", "trainer.accumulate=2") == pytest.approx(alone, rel=1e-5)
