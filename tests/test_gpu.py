"""What only a GPU can show; left out where there is none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.distributed as dist

from dlzoo.builder.model import build
from dlzoo.core import distributed
from dlzoo.core.registries import LOSSES, OPTIMIZERS
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from tests.small import SMALL_BACKBONE, SMALL_PARTS, TINY, train, weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CONV = [
    *("trainer=gpu", "model=resnet20", "model.width=8", "augment=flip_crop", "data.batch_size=32"),
    *("trainer.max_epochs=3", "trainer.ema=0.9", "trainer.log_every=20"),
]


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def watched_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waiting for the device an error in every step but the first three, which allocate and choose kernels."""
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("here trainer.precision=auto is fp16, of which the loss scale waits in each step")
    step = TaskModule._step

    def watched(self: TaskModule, number: int) -> None:
        if number < 3:
            step(self, number)
        else:
            with no_waiting():
                step(self, number)

    monkeypatch.setattr(TaskModule, "_step", watched)


@pytest.mark.parametrize("norm", ["bn", "gn"])
@pytest.mark.parametrize("cache", ["device", "memory"])
def test_the_host_never_waits_for_the_device_between_log_steps(
    monkeypatch: pytest.MonkeyPatch, norm: str, cache: str
) -> None:
    watched_steps(monkeypatch)
    run = train(*CONV, f"norm={norm}", f"data.cache={cache}")
    record = RunDir.open(run.dir).read()
    assert record["data_cache"] == cache
    assert record["precision"] == "bf16-mixed"
    assert run.metrics["test/accuracy"] > 0.5


@pytest.mark.parametrize("loss", [name for name in LOSSES.names() if "classification" in LOSSES[name].marks.targets])
def test_no_loss_waits(monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    watched_steps(monkeypatch)
    assert train(*CONV, f"loss={loss}", "optimizer=adam").metrics["test/loss"] >= 0


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS.names() if not OPTIMIZERS[name].marks.full_batch])
def test_no_optimizer_waits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    watched_steps(monkeypatch)
    asked = ["optimizer.l1=1e-4", "optimizer.decoupled=true", "optimizer.layer_decay=0.8", "optimizer.decay=weights"]
    assert train(*CONV, f"optimizer={name}", *asked).metrics["test/loss"] > 0


@pytest.mark.parametrize(
    "name", ["resized_crop", "rotate", "scale", "colour_jitter", "randaugment", "strong", "median", "sobel"]
)
def test_no_recipe_waits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    watched_steps(monkeypatch)
    mixed = ["augment.cutout=2", "augment.mixup=0.4", "augment.cutmix=1", "augment.test=flip_shift"]
    asked = ["data.sampler=balanced", "data.test_shift=noise", "trainer.self_adversarial=0.02"]
    assert train(*CONV, f"augment={name}", *mixed, *asked).metrics["test/loss"] > 0


@pytest.mark.parametrize("name", ["lbfgs", "newton"])
def test_second_order_methods_work_on_a_gpu(name: str) -> None:
    settings = ["trainer=gpu", "model=linear", "data.batch_size=full", "trainer.max_epochs=3", "trainer.precision=fp32"]
    assert train(*settings, f"optimizer={name}").metrics["test/accuracy"] > 0.85


def test_where_images_are_kept_changes_no_number() -> None:
    first, second = (train(*CONV, f"data.cache={cache}", "trainer.precision=fp32") for cache in ("device", "memory"))
    for one, other in zip(read_metrics(first.dir / "metrics.jsonl"), read_metrics(second.dir / "metrics.jsonl")):  # noqa: B905
        if "train/loss" in one:
            assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-2)


@pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.get_device_capability() < (7, 0), reason="slow at fp16")
@pytest.mark.parametrize("settings", [[], ["trainer.accumulate=2", "trainer.self_adversarial=0.02", "norm=gn"]])
def test_fp16_learns_and_stays_finite(settings: list[str]) -> None:
    run = train(*CONV, "trainer.precision=fp16", *settings)
    assert RunDir.open(run.dir).read()["precision"] == "16-mixed"
    assert run.metrics["test/accuracy"] > 0.5
    records = [record for record in read_metrics(run.dir / "metrics.jsonl") if "loss_scale" in record]
    assert records[-1]["skipped_steps"] < records[-1]["step"] / 4
    state = torch.load(run.dir / "checkpoints" / "last.ckpt", weights_only=True)["task"]["loss_scale"]
    assert state["scale"] == records[-1]["loss_scale"] >= 1


def test_auto_is_fp16_on_gpus_without_bf16() -> None:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has bf16")
    fast = torch.cuda.get_device_capability() >= (7, 0)
    assert RunDir.open(train(*CONV).dir).read()["precision"] == ("16-mixed" if fast else "32-true")


def test_a_compiled_training_learns_the_same() -> None:
    compiled, eager = train(*CONV, "trainer.compile=true"), train(*CONV)
    assert weights(compiled).keys() == weights(eager).keys()
    assert compiled.metrics["test/accuracy"] == pytest.approx(eager.metrics["test/accuracy"], abs=0.1)


def test_a_gpu_and_a_cpu_train_the_same() -> None:
    on_gpu, on_cpu = (train(*CONV, f"trainer={trainer}", "trainer.precision=fp32") for trainer in ("gpu", "cpu"))
    assert on_gpu.metrics["test/accuracy"] == pytest.approx(on_cpu.metrics["test/accuracy"], abs=0.05)
    assert json.loads((on_gpu.dir / "run.json").read_text())["peak_memory_bytes"] > 1e6


def test_sync_bn_over_nccl_is_batch_norm_and_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one GPU the sum over ranks is that of one; the collectives are NCCL's all the same."""
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    try:
        x = torch.randn(8, 4, 5, 5, device="cuda")
        mine, theirs = (build("norm", name)(4).cuda() for name in ("sync_bn", "bn"))
        grads = []
        for norm in (mine, theirs):
            norm(x)  # the first call sets NCCL up
            given = x.clone().requires_grad_()
            with no_waiting():
                norm(given).square().sum().backward()
            grads.append(given.grad)
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine.running_var, theirs.running_var)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("model", sorted({"yolo_tiny", *SMALL_PARTS}))
def test_a_detector_learns_on_a_gpu_what_it_learns_on_a_cpu(model: str) -> None:
    words = [
        *TINY,
        f"model={model}",
        *SMALL_BACKBONE,
        *SMALL_PARTS.get(model, []),
        "augment=yolo",
        "augment.mosaic=0.5",
    ]
    words += ["trainer.precision=fp32", "trainer.max_epochs=1", "trainer.log_every=1"]
    losses = []
    for trainer in ("gpu", "cpu"):
        run = train(*words, f"trainer={trainer}")
        losses.append([each["train/loss"] for each in read_metrics(run.dir / "metrics.jsonl") if "train/loss" in each])
    # The sampling of Faster R-CNN draws from the generator of each device.
    assert losses[0][-1] == pytest.approx(losses[1][-1], rel=0.5 if model == "faster_rcnn" else 5e-2)


@pytest.mark.parametrize("model", ["retinanet", "ssd300", "yolo_tiny", "yolov4"])
def test_no_detector_of_one_stage_waits(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    watched_steps(monkeypatch)
    words = [*TINY, f"model={model}", *SMALL_BACKBONE, *SMALL_PARTS.get(model, []), "augment=yolo", "trainer=gpu"]
    assert train(*words, "trainer.log_every=20").metrics["test/loss"] > 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_share_a_batch() -> None:
    run = train(*CONV, "trainer=ddp", "trainer.devices=2", "norm=sync_bn", "trainer.compile=true")
    record = RunDir.open(run.dir).read()
    assert (record["state"], record["ranks"]) == ("finished", 2)
    assert run.metrics["test/accuracy"] > 0.5
