"""Whole runs, small: what is written, that it repeats, that each setting does what it says."""

import io
import json
import math
import re

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from dlzoo.builder.execute import begin
from dlzoo.builder.model import network_from_config
from dlzoo.builder.weights import child_state
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.data.loader import Normalise
from dlzoo.data.split import channel_statistics
from dlzoo.data.splits import Splits
from dlzoo.engine.clock import TrainSchedule
from dlzoo.engine.display import PatientConsole
from dlzoo.engine.task_module import TaskModule
from dlzoo.runs.logged import read_metrics
from dlzoo.runs.run_dir import RunDir
from dlzoo.runs.table import Row
from tests.small import CONV, SMALL, same, train, weights


@pytest.mark.draws
def test_a_run_leaves_everything_behind() -> None:
    run = train(*SMALL)
    record = json.loads((run.dir / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["error"] is None
    assert record["seed"] == 0
    assert record["params"] == 64 * 16 + 16 + 16 * 10 + 10
    assert record["macs"] == 64 * 16 + 16 * 10
    assert record["steps"] == 15
    assert record["images_per_second"] > 0
    assert record["wall_seconds"] > 0
    assert record["peak_memory_bytes"] > 1e7
    assert record["data_sizes"] == {"train": 200, "val": 143, "test": 200}
    assert record["versions"]["torch"] == torch.__version__
    for name in ("accuracy", "accuracy_top5", "f1_macro", "calibration_error", "loss"):
        assert 0 <= record["metrics"][f"test/{name}"] < 5
        assert f"val/{name}" in record["metrics"]
    assert record["config"] == yaml.safe_load((run.dir / "config.yaml").read_text())
    assert run.metrics == record["metrics"]
    assert sorted(path.name for path in (run.dir / "pictures").iterdir()) == [
        "confusion.png",
        "curves.png",
        "mistakes.png",
    ]
    for path in (run.dir / "pictures").iterdir():
        with Image.open(path) as picture:
            assert picture.size[0] > 300
    records = read_metrics(run.dir / "metrics.jsonl")
    assert [r["step"] for r in records if "train/loss" in r] == [5, 10, 15]
    assert [r["step"] for r in records if "val/loss" in r] == [5, 10, 15]
    assert [path.name for path in (run.dir / "checkpoints").iterdir() if path.suffix != ".ckpt"] == []
    board = EventAccumulator(str(run.dir), size_guidance={"scalars": 0})
    board.Reload()
    assert {"confusion", "curves", "mistakes"} <= set(board.Tags()["images"])
    for tag in ("train/loss", "val/accuracy", "lr"):
        logged = [(r["step"], pytest.approx(r[tag])) for r in records if tag in r]
        assert [(event.step, event.value) for event in board.Scalars(tag)] == logged
    assert "_hparams_/session_start_info" in board.summary_metadata


def test_digits_are_learnt() -> None:
    assert train("trainer.max_epochs=6", "model.width=8").metrics["test/accuracy"] > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = train(*CONV), train(*CONV), train(*CONV, "seed=1")
    assert same(weights(first), weights(again))
    assert first.metrics == again.metrics
    assert not same(weights(first), weights(other))


def test_how_steps_are_cut_into_ranges_changes_nothing() -> None:
    whole, cut = train(*CONV), train(*CONV, "trainer.log_every=1", "trainer.checkpoint_every=2")
    assert same(weights(whole), weights(cut))
    with_loss = [r for r in read_metrics(cut.dir / "metrics.jsonl") if "train/loss" in r]
    assert [r["step"] for r in with_loss] == list(range(1, 11))


def test_the_same_seed_means_the_same_batches_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}
    from dlzoo.tasks.classification.module import ClassificationModule

    loss = ClassificationModule.loss

    def spy(self: ClassificationModule, batch: object) -> object:
        seen.setdefault(type(self.network).__name__, []).append(batch.images.clone())  # type: ignore[attr-defined]
        return loss(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(ClassificationModule, "loss", spy)
    train(*SMALL)
    train("model=linear", *SMALL[2:])
    assert len(seen["MLP"]) == len(seen["Linear"]) == 15
    assert all(torch.equal(a, b) for a, b in zip(seen["MLP"], seen["Linear"], strict=True))


def test_accumulation_is_the_same_training_in_smaller_parts() -> None:
    whole, parts = train(*SMALL), train(*SMALL, "trainer.accumulate=4")
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[key], value, rtol=1e-4, atol=1e-5)


def test_full_batch_is_one_step_an_epoch() -> None:
    run = train("model=linear", "data.batch_size=full", "trainer.max_epochs=2", "data.limit=100")
    record = RunDir.open(run.dir).read()
    assert (record["batch_size"], record["steps_per_epoch"], record["steps"]) == (100, 1, 2)


def test_averaged_weights_follow_their_recurrence_and_are_what_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, Tensor]] = []
    step = TaskModule._step

    def spy(self: TaskModule, number: int) -> None:
        step(self, number)
        states.append({key: value.clone() for key, value in self.network.state_dict().items()})

    monkeypatch.setattr(TaskModule, "_step", spy)
    run = train(*CONV, "trainer.ema=0.8", "trainer.select=last")
    average = states[0]
    for state in states[1:]:
        average = {key: 0.8 * average[key] + 0.2 * value if value.is_floating_point() else value
                   for key, value in state.items()}  # fmt: skip
    saved = child_state(weights(run), "ema")
    for key, value in average.items():
        torch.testing.assert_close(saved[key], value)
    network = network_from_config(
        RunDir.open(run.dir).read()["config"], {"num_classes": 10, "in_channels": 1, "image_size": 8}
    )
    network.load_state_dict(saved)
    data = Splits.load(RunDir.open(run.dir).read()["config"]["data"])
    images = Normalise(*channel_statistics(data.train.images))(data.test.images.permute(0, 3, 1, 2))
    with torch.no_grad():
        hits = network.eval()(images).argmax(1) == data.test.labels
    assert run.metrics["test/accuracy"] == pytest.approx(hits.float().mean().item())


def test_gradients_are_clipped_to_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {}
    step = TaskModule._step

    def spy(self: TaskModule, number: int) -> None:
        before = torch.cat([p.detach().flatten() for p in self.network.parameters()]).clone()
        step(self, number)
        after = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        first.setdefault("moved", (after - before).norm().item())

    monkeypatch.setattr(TaskModule, "_step", spy)
    train(*SMALL, "trainer.clip_norm=0.01", "optimizer.lr=1", "optimizer.weight_decay=0", "optimizer.momentum=0")
    assert first["moved"] == pytest.approx(0.01, rel=1e-3)


def test_clipping_ema_decay_and_scaled_rate_reach_the_training() -> None:
    plain = train(*SMALL)
    for extra in ("trainer.clip_norm=0.01", "optimizer.decay=weights", "optimizer.lr_reference_batch=80"):
        assert not same(weights(plain), weights(train(*SMALL, extra))), extra
    record = RunDir.open(train(*SMALL, "optimizer.lr_reference_batch=80").dir).read()
    assert record["effective_lr"] == pytest.approx(0.05)
    averaged = weights(train(*SMALL, "trainer.ema=0.9"))
    assert same(weights(plain), {key: value for key, value in averaged.items() if not key.startswith("ema.")})
    assert not torch.equal(averaged["ema.head.weight"], averaged["network.head.weight"])


def test_early_stopping_stops_and_the_best_epoch_is_tested() -> None:
    run = train(*SMALL, "trainer.max_epochs=50", "trainer.early_stopping=3", "optimizer.lr=0.5")
    record = RunDir.open(run.dir).read()
    accuracies = [r["val/accuracy"] for r in read_metrics(run.dir / "metrics.jsonl") if "val/accuracy" in r]
    epochs = len(accuracies)
    assert epochs < 50
    assert record["steps"] == epochs * 5
    assert max(accuracies[:-3]) == max(accuracies)  # the last three brought nothing better
    best = max(range(epochs), key=lambda epoch: (accuracies[epoch], epoch)) + 1
    assert record["selected_epoch"] == best
    assert record["metrics"]["val/accuracy"] == max(accuracies)
    assert RunDir.open(train(*SMALL, "trainer.select=last").dir).read()["selected_epoch"] == 3


def test_a_run_may_end_inside_an_epoch_and_its_schedule_ends_with_it() -> None:
    run = train(*SMALL, "trainer.max_steps=8", "trainer.log_every=1", "schedule=cosine", "schedule.warmup=0.25")
    record, log = RunDir.open(run.dir).read(), read_metrics(run.dir / "metrics.jsonl")
    assert (record["steps"], record["steps_per_epoch"]) == (8, 5)
    assert [line["step"] for line in log if "val/accuracy" in line] == [5, 8]
    rates = [line["lr"] for line in log if "lr" in line]
    expected = [0.1 * min(1, (step + 1) / 2) * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates == pytest.approx(expected)
    assert torch.load(run.dir / "checkpoints" / "last.ckpt", weights_only=True)["task"]["clock"] == 8
    assert Row.of(run.dir).steps == (8, 8)


def test_debug_is_one_batch_of_everything() -> None:
    record = RunDir.open(train("trainer=debug").dir).read()
    assert (record["steps"], record["steps_per_epoch"]) == (1, 1)


def test_a_diverging_run_says_so() -> None:
    with pytest.raises(UserError, match=r"the loss is not finite at step 5 .*try a smaller optimizer\.lr"):
        train("model=mlp", "optimizer.lr=1e30", "data.limit=200", "data.batch_size=40", "run_dir=diverged")
    record = RunDir.open("diverged").read()
    assert record["state"] == "failed"
    assert "not finite" in record["error"]


@pytest.mark.parametrize("norm", ["bn", "gn", *(pytest.param(name, marks=pytest.mark.long) for name in ("ln", "in"))])
def test_every_norm_learns_with_the_defaults(norm: str) -> None:
    """Not only bn: an initialisation or a rate that suits it alone would decide every comparison."""
    assert train(f"norm={norm}", "trainer.max_epochs=5", "model.width=8").metrics["test/accuracy"] > 0.6


@pytest.mark.parametrize(
    ("max_steps", "end", "epochs"), [(None, 51, 3), (40, 40, 3), (34, 34, 2), (3, 3, 1), (99, 51, 3)]
)
def test_ranges_never_cross_an_epoch_a_log_step_a_checkpoint_or_the_end(
    max_steps: int | None, end: int, epochs: int
) -> None:
    plan = TrainSchedule(max_epochs=3, steps_per_epoch=17, log_every=5, checkpoint_every=7, max_steps=max_steps)
    assert (plan.steps, plan.epochs, plan.epochs_done(end)) == (end, epochs, epochs)
    for start in range(plan.steps):
        ranges = list(plan.ranges(start))
        steps = [step for steps in ranges for step in steps]
        assert steps == list(range(start, min((start // 17 + 1) * 17, end)))
        for steps in ranges:
            for step in steps[:-1]:
                assert (step + 1) % 5
                assert (step + 1) % 7
                assert (step + 1) % 17


def test_on_a_terminal_each_epoch_has_its_line_once_in_order() -> None:
    terminal = PatientConsole(file=io.StringIO(), force_terminal=True, width=120)
    begin(compose([*SMALL, "trainer.max_epochs=5"]), terminal)
    shown = terminal.file.getvalue()  # type: ignore[attr-defined]
    lines = re.findall(r"(?:\x1b\[2K|\n)epoch (\d)/5  loss", shown)
    assert lines == ["1", "2", "3", "4", "5"], shown
