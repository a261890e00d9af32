"""The loop: precision, compilation, and callbacks of one's own."""

import os
import signal
from functools import partialmethod
from typing import Literal

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint
from torch import nn

import dlzoo
from dlzoo.builder.trainer import Assembled
from dlzoo.config import compose, device
from dlzoo.config.device import accelerator_and_precision
from dlzoo.config.settings import TrainerSettings
from dlzoo.core.errors import Interrupted, UserError
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.run_dir import RunDir
from tests.small import CONV, SMALL, SMALL_BACKBONE, SMALL_PARTS, TINY, last_of_each, logged, same, train, weights


def by_hand(overrides: list[str], *, bf16: bool = False) -> dict[str, torch.Tensor]:
    """The weights after a training that is written out: what the loop must not differ from."""
    made = Assembled(compose(overrides))
    network, feed, plan = made.module.network.train(), made.module.loaders.train, made.module.schedule
    optimizer = made.module.recipe.make_optimizer(network)
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(plan.steps):
        made.module.context.reseed(torch.device("cpu"), step)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * made.module.recipe.lr_factor(step)
        for batch in feed.batches(step):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = network(batch.images)
            nn.functional.cross_entropy(logits.float(), batch.labels).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {f"network.{key}": value for key, value in network.state_dict().items()}


def of_network(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key.startswith("network.")}


def test_the_loop_is_the_loop_that_one_would_write() -> None:
    assert same(by_hand(CONV), of_network(weights(train(*CONV))))


@pytest.mark.parametrize(
    "overrides",
    [
        [*CONV, "drop=dropout", "trainer.accumulate=2", "trainer.ema=0.9", "trainer.self_adversarial=0.02"],
        [*CONV, "optimizer=sam", "norm=cmbn", "freeze=2"],
        [*TINY, "model=retinanet", *SMALL_BACKBONE, *SMALL_PARTS["retinanet"], "data.train=8", "data.batch_size=4"],
    ],
)
def test_checkpointing_activations_changes_no_bit(overrides: list[str]) -> None:
    less, more = train(*overrides, "trainer.checkpoint_activations=true"), train(*overrides)
    assert same(weights(less), weights(more))
    assert logged(less.dir) == logged(more.dir)


def test_autocast_sees_the_weights_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many steps run inside one autocast: its copies of the weights must not be those of the first."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    overrides = [*SMALL, "trainer.precision=bf16"]
    run = train(*overrides)
    assert RunDir.open(run.dir).read()["precision"] == "bf16-mixed"
    trained, exact = of_network(weights(run)), weights(train(*SMALL))
    for key, value in by_hand(overrides, bf16=True).items():
        torch.testing.assert_close(trained[key], value, rtol=1e-4, atol=1e-6)
        assert not torch.equal(trained[key], exact[key])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_slow_precisions_fall_back_with_a_warning(
    precision: Literal["bf16", "fp16"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match=f"{precision} many times slower"):
        assert accelerator_and_precision(TrainerSettings(accelerator="cpu", precision=precision)) == ("cpu", "32-true")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_a_compiled_training_is_the_same_and_keeps_the_names_of_the_weights(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inductor's C++ compiler takes most of a minute; what is traced and differentiated is the same without it.
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    compiled, eager = train(*SMALL, "trainer.compile=true"), train(*SMALL)
    assert weights(compiled).keys() == weights(eager).keys()
    for key, value in weights(eager).items():
        torch.testing.assert_close(weights(compiled)[key], value, rtol=1e-3, atol=1e-4)
    assert compiled.metrics["test/accuracy"] == pytest.approx(eager.metrics["test/accuracy"], abs=0.02)


def test_compile_without_a_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found in cpp.cxx")

    monkeypatch.setattr(TaskModule, "_step", none)
    with pytest.raises(UserError, match=r"trainer.compile=true needs a C\+\+ compiler"):
        train(*SMALL, "trainer.compile=true")


class Follower(pl.Callback):
    """Notes every step."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append(("batch", batch, trainer.global_step))
        self.losses.append(outputs["loss"].item())

    def on_after_backward(self, trainer, pl_module) -> None:
        self.seen.append(("backward", pl_module.state.clock))

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        self.seen.append(("zero", pl_module.state.clock))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        norm = torch.cat([p.grad.flatten() for p in pl_module.network.parameters()]).norm()
        self.seen.append(("step", norm.item() <= 1.0001))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_callback_that_follows_steps_sees_each_and_changes_nothing(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "is_fast", lambda precision, *, gpu: True)
    follower, overrides = Follower(), [*SMALL, f"trainer.precision={precision}"]
    followed, alone = dlzoo.train(overrides, quiet=True, callbacks=[follower]), train(*overrides)
    expected: list[tuple] = []
    for step in range(15):
        expected += [("backward", step), ("step", True), ("zero", step), ("batch", range(step, step + 1), step + 1)]
    assert follower.seen == expected
    assert sum(follower.losses[10:]) / 5 == pytest.approx(logged(followed.dir)[4]["train/loss"])
    assert same(weights(followed), weights(alone))
    assert logged(followed.dir) == logged(alone.dir)


@pytest.mark.parametrize("hook", ["on_train_batch_start", "on_before_backward", "on_before_zero_grad"])
def test_a_lambda_callback_is_called_for_each_step_as_well(hook: str) -> None:
    seen = []
    dlzoo.train(SMALL, quiet=True, callbacks=[LambdaCallback(**{hook: lambda *words: seen.append(words)})])
    assert len(seen) == 15


def test_a_run_goes_on_with_the_callbacks_that_it_was_begun_with(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = TaskModule.on_validation_epoch_end

    def stopping(self: TaskModule) -> None:
        measure(self)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_validation_epoch_end", stopping)
        with pytest.raises(Interrupted):
            dlzoo.train([*SMALL, "run_dir=run"], quiet=True, callbacks=[AtEpochs()])
    with pytest.raises(UserError, match=r"started with callbacks=\['AtEpochs'\], not \[\]; .*train\(\['resume=run'\]"):
        dlzoo.train(["resume=run"], quiet=True)
    callback = AtEpochs()
    dlzoo.train(["resume=run"], quiet=True, callbacks=[callback])
    assert callback.seen[-1] == (2, 15)


class AtEpochs(pl.Callback):
    """Notes where the run is at each epoch's end."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seen.append((trainer.current_epoch, trainer.global_step))
        assert {"train/loss", "val/accuracy"} <= set(trainer.callback_metrics)


def test_a_callback_that_does_not_follow_steps_leaves_the_ranges_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges, step = [], TaskModule.training_step

    def spy(self: TaskModule, steps: range, index: int) -> None:
        ranges.append(steps)
        step(self, steps, index)

    monkeypatch.setattr(TaskModule, "training_step", spy)
    callback = AtEpochs()
    dlzoo.train(SMALL, quiet=True, callbacks=[callback])
    assert callback.seen == [(0, 5), (1, 10), (2, 15)]
    assert ranges == [range(0, 5), range(5, 10), range(10, 15)]


def test_what_is_no_callback_is_one_line() -> None:
    with pytest.raises(UserError, match="callbacks must be Lightning callbacks, not 3"):
        dlzoo.train(SMALL, quiet=True, callbacks=[3])  # type: ignore[list-item]


def test_a_key_that_is_set_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"^the list sets seed twice: seed=1 and seed=2; keep one"):
        dlzoo.train(["model=mlp", "seed=1", "seed=2"])
    with pytest.raises(UserError, match="must be a list of strings"):
        dlzoo.train("model=mlp")


def test_callbacks_of_lightning_find_what_they_monitor() -> None:
    best = ModelCheckpoint("models", monitor="val/accuracy", mode="max")
    patience = EarlyStopping("val/loss", patience=1, min_delta=100)
    run = dlzoo.train(last_of_each([*SMALL, "trainer.max_epochs=9"]), quiet=True, callbacks=[best, patience])
    assert RunDir.open(run.dir).read()["steps"] == 10  # the second epoch brought no 100 less
    assert best.best_model_score is not None
    assert best.best_model_score.item() == pytest.approx(run.metrics["val/accuracy"])
