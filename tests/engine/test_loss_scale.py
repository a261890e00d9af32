"""Training in fp16: the scale of the loss, skipped steps, ranks, and what cannot be trained so."""

import socket
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose, device
from dlzoo.config.device import accelerator_and_precision
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.errors import UserError
from dlzoo.data.loader import Batch
from dlzoo.engine.adversarial import SelfAdversarial
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from tests.processes import Command
from tests.small import SMALL, logged, same, train, weights

FP16 = ["trainer.precision=fp16", "trainer.log_every=1"]


@pytest.fixture(autouse=True)
def _cpu_counts_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "is_fast", lambda precision, *, gpu: True)


def begin_with(monkeypatch: pytest.MonkeyPatch, **settings: float) -> None:
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, **settings))


def initial(overrides: list[str]) -> dict[str, Tensor]:
    return Assembled(compose(overrides)).module.state_dict()


def test_the_loop_is_that_of_the_documentation_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales that are too large at first, and that grow too often, so that steps are skipped in between too."""
    begin_with(monkeypatch, init_scale=2.0**24, growth_interval=2)
    overrides = [*SMALL, *FP16, "trainer.accumulate=2"]
    made = Assembled(compose(overrides))
    network, module = made.module.network.train(), made.module
    scaler, optimizer = torch.amp.GradScaler("cpu"), module.recipe.make_optimizer(network)
    # With it the fused SGD of torch 2.14 starts from uninitialised momentum if the first step is skipped.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    rates, scales = [group["lr"] for group in optimizer.param_groups], []
    for step in range(module.schedule.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * module.recipe.lr_factor(step)
        for batch in module.loaders.train.batches(step):
            with torch.autocast("cpu", torch.float16, cache_enabled=False):
                logits = network(batch.images)
            scaler.scale(nn.functional.cross_entropy(logits.float(), batch.labels) / 2).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    run = train(*overrides)
    expected = {f"network.{key}": value for key, value in network.state_dict().items()}
    assert same({key: value for key, value in weights(run).items() if key in expected}, expected)
    records = [record for record in logged(run.dir) if "loss_scale" in record]
    assert [record["loss_scale"] for record in records] == scales
    halved = sum(after < before for before, after in zip([2.0**24, *scales], scales, strict=False))
    assert records[-1]["skipped_steps"] == halved > 1
    assert [record["step"] for record in records] == list(range(1, 16))  # skipped steps count
    assert RunDir.open(run.dir).read()["precision"] == "16-mixed"


def test_a_skipped_step_leaves_weights_and_averages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_with(monkeypatch, init_scale=2.0**100)
    settings = ["optimizer.decoupled=true", "optimizer.l1=1e-2", "optimizer.weight_decay=0.1", "trainer.ema=0.9"]
    overrides = [*SMALL, *FP16, *settings, "trainer.self_adversarial=0.1"]
    run = train(*overrides)
    assert logged(run.dir)[-3]["skipped_steps"] == 15
    assert same(weights(run), initial(overrides))


def test_images_are_moved_adversarially_though_their_gradients_are_small() -> None:
    """The unscaled gradients of the logits are smaller than the smallest number of fp16."""
    made = Assembled(compose([*SMALL, *FP16, "trainer.self_adversarial=0.1"])).module
    assert made.recipe.loss_scale is not None

    def tiny(batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        value, others = made.loss(batch)
        return value * 1e-6, others

    batch = next(iter(made.loaders.train.batches(0)))
    with torch.autocast("cpu", torch.float16, cache_enabled=False):
        moved = SelfAdversarial(0.1, made.normalise, made.network, tiny, made.recipe.loss_scale)(batch)
    changed = (moved.images != batch.images).float().mean()
    assert changed > 0.5


def test_gradients_that_are_never_finite_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = TaskModule._backward
    monkeypatch.setattr(TaskModule, "_backward", lambda self, loss, last: backward(self, loss * float("inf"), last))
    with pytest.raises(UserError, match=r"gradients are not finite, whatever .* fp16, at step 30 .*precision=fp32"):
        train(*SMALL, *FP16, "trainer.max_epochs=9", "run_dir=run")
    assert RunDir.open("run").read()["state"] == "failed"


def test_a_gradient_that_is_not_finite_on_one_rank_skips_the_step_on_all() -> None:
    code = """
import sys
from dlzoo.cli import main
from dlzoo.config import device
from dlzoo.data.loader import Batch
from dlzoo.engine.adversarial import SelfAdversarial
from dlzoo.engine.task_module import TaskModule
device.is_fast = lambda precision, *, gpu: True
backward = TaskModule._backward
def bad_once(self, loss, last):
    backward(self, loss * float("inf") if self.state.clock == 2 and self.context.rank.rank == 1 else loss, last)
TaskModule._backward = bad_once
trained = TaskModule.on_test_epoch_start
def check(self):
    trained(self)
    print("skipped", self.state.loss_scale.skipped, float(sum(p.double().sum() for p in self.network.parameters())))
TaskModule.on_test_epoch_start = check
sys.exit(main(["run", "run"]))
"""
    overrides = [*SMALL, *FP16, "trainer=ddp_cpu", "trainer.threads=1", "trainer.select=last", "data.val_fraction=0"]
    run = RunDir.create(Path("run"), compose(overrides))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    address |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [Command(code=code, environment={**address, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    outputs = [rank.communicate() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    said = [[line for line in output.splitlines() if line.startswith("skipped 1 ")] for output, _ in outputs]
    assert len(said[0]) == 1
    assert said[0] == said[1]
    scales = [record["loss_scale"] for record in logged(run.path) if "loss_scale" in record]
    assert scales[:4] == [65536, 65536, 32768, 32768]


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [("sam", "more than once per step, .*set trainer.precision=fp32 or bf16"), ("lbfgs", "set trainer.precision=fp32")],
)
def test_optimizers_with_a_closure_are_refused(optimizer: str, message: str) -> None:
    with pytest.raises(UserError, match=f"optimizer={optimizer} .*{message}"):
        train(*SMALL, *FP16, f"optimizer={optimizer}", "data.batch_size=full")


@pytest.mark.parametrize(
    ("fast", "fp16", "auto"),
    [
        (("bf16", "fp16"), True, "bf16-mixed"),
        (("fp16",), True, "16-mixed"),
        (("fp16",), False, "32-true"),  # SAM
        ((), True, "32-true"),
    ],
)
def test_auto_is_the_best_precision_of_the_gpu(
    monkeypatch: pytest.MonkeyPatch, fast: tuple[str, ...], fp16: bool, auto: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(device, "is_fast", lambda precision, *, gpu: precision in fast)
    assert accelerator_and_precision(TrainerSettings(), fp16=fp16) == ("gpu", auto)
    assert accelerator_and_precision(TrainerSettings(accelerator="cpu")) == ("cpu", "32-true")
